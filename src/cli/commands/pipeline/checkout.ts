import { stateDirectory } from "../../../config/env.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import { findTrackedOuts, selectOuts } from "../../../pipeline/dvc-files/tracked-outs.ts";
import type { Configure } from "../../command.ts";
import { withCache } from "../../data-cache.ts";
import { addFollowLinkFlag, allowLinks, type FollowLinkFlag } from "../../follow-link.ts";

export const configure: Configure = (command, context) => {
  addFollowLinkFlag(command.argument("[TARGETS...]", "outs, .dvc files or stages (default: all)"))
    .option("--force", "give up data in the workspace that the cache does not have")
    .option("--relink", "make links or copies again where cache.type has changed")
    .option("--json", "print the result as JSON")
    .action(async (targets: string[], options: FollowLinkFlag & { force?: boolean; relink?: boolean; json?: boolean }) => {
      const output = context.output(options);
      await allowLinks(context.cwd, options);
      const outs = selectOuts(await findTrackedOuts(context.cwd), targets).filter(({ cached }) => cached);
      const missing: string[] = [];
      const restored: string[] = [];
      await withCache(context, stateDirectory(), output, async (cache) => {
        for (const out of outs) {
          if (await cache.restore(out, options)) restored.push(out.path);
          else missing.push(out.path);
        }
      });
      output.result({ restored, missing }, `Checked out ${restored.length} of ${outs.length} outs.`);
      if (missing.length > 0) {
        throw new ServalError(
          "E_CACHE_MISSING",
          `${missing.map((path) => `"${path}"`).join(", ")}: the cache does not have the recorded version.`,
        );
      }
    });
};
