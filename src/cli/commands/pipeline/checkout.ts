import { ServalError } from "../../../errors/serval-error.ts";
import { checkoutData } from "../../../workflows/pipeline/checkout-data.ts";
import type { Configure } from "../../command.ts";
import { addFollowLinkFlag, type FollowLinkFlag } from "../../options/follow-link.ts";

export const configure: Configure = (command, context) => {
  addFollowLinkFlag(command.argument("[TARGETS...]", "outs, .dvc files or stages (default: all)"))
    .option("--force", "discard data in the workspace that is not in the cache")
    .option("--relink", "make links or copies again where cache.type has changed")
    .option("--json", "print the result as JSON")
    .action(async (targets: string[], { json, ...flags }: FollowLinkFlag & { force?: boolean; relink?: boolean; json?: boolean }) => {
      const output = context.output({ json });
      const report = await checkoutData({ cwd: context.cwd, targets, ...flags, reporter: output, signal: context.signal });
      const { restored, missing } = report;
      output.result(report, `Checked out ${restored.length} of ${restored.length + missing.length} outs.`);
      if (missing.length > 0) {
        throw new ServalError(
          "E_CACHE_MISSING",
          `${missing.map((path) => `"${path}"`).join(", ")}: the cache does not have the recorded version.`,
        );
      }
    });
};
