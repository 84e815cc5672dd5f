import { versionData } from "../../../workflows/pipeline/version-data.ts";
import type { Configure } from "../../command.ts";
import { addFollowLinkFlag, type FollowLinkFlag } from "../../options/follow-link.ts";

export const configure: Configure = (command, context) => {
  addFollowLinkFlag(command.argument("<PATH...>", "files or folders"))
    .option("--json", "print the result as JSON")
    .action(async (paths: string[], { followLink, json }: FollowLinkFlag & { json?: boolean }) => {
      const output = context.output({ json });
      const entries = await versionData({ cwd: context.cwd, paths, followLink, reporter: output, signal: context.signal });
      const lines = entries.map(
        ({ path, size, nfiles }) => `Added ${path} (${nfiles === undefined ? "" : `${nfiles} files, `}${size} bytes): ${path}.dvc`,
      );
      output.result(entries, [...lines, `Now commit: git add ${entries.map(({ path }) => `'${path}.dvc'`).join(" ")}`].join("\n"));
    });
};
