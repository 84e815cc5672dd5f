import { stateDirectory } from "../../../config/env.ts";
import { addData, ensureDvcFolder } from "../../../pipeline/run/add-data.ts";
import type { Configure } from "../../command.ts";
import { withCache } from "../../data-cache.ts";
import { addFollowLinkFlag, allowLinks, type FollowLinkFlag } from "../../follow-link.ts";

export const configure: Configure = (command, context) => {
  addFollowLinkFlag(command.argument("<PATH...>", "files or folders"))
    .option("--json", "print the result as JSON")
    .action(async (paths: string[], options: FollowLinkFlag & { json?: boolean }) => {
      const output = context.output(options);
      if (await ensureDvcFolder(context.cwd))
        output.warn("Made .dvc/ with an empty configuration: commit .dvc/config and .dvc/.gitignore.");
      await allowLinks(context.cwd, options);
      const entries = await withCache(context, stateDirectory(), output, (cache) => addData(context.cwd, cache, paths));
      const lines = entries.map(
        ({ path, size, nfiles }) => `Added ${path} (${nfiles === undefined ? "" : `${nfiles} files, `}${size} bytes): ${path}.dvc`,
      );
      output.result(entries, [...lines, `Now commit: git add ${entries.map(({ path }) => `'${path}.dvc'`).join(" ")}`].join("\n"));
    });
};
