import { loadParams } from "../../../config/params.ts";
import { prepareData } from "../../../workflows/data/prepare-data.ts";
import type { Configure } from "../../command.ts";
import { describePrepare } from "../../describe/data.ts";
import { addFollowLinkFlag, type FollowLinkFlag } from "../../options/follow-link.ts";

export const configure: Configure = (command, context) => {
  addFollowLinkFlag(command)
    .option("--force", "write the shards even where they are up to date")
    .option("--set <KEY=VALUE...>", "override a parameter, such as prepare.width=96")
    .option("--json", "print the result as JSON")
    .action(async ({ force, followLink, set = [], json }: FollowLinkFlag & { force?: boolean; set?: string[]; json?: boolean }) => {
      const params = await loadParams(context.cwd, set);
      const output = context.output({ json });
      const report = await prepareData({ cwd: context.cwd, params, force, followLink, reporter: output, signal: context.signal });
      output.result(report, describePrepare(report));
    });
};
