import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { stateDirectory } from "../../../config/env.ts";
import { writeFileAtomic } from "../../../files.ts";
import { renderPlotsPage } from "../../../pipeline/history/plots-page.ts";
import { commitVersion, workspaceVersion, type Version } from "../../../pipeline/history/versions.ts";
import type { Configure } from "../../command.ts";
import { withCache } from "../../data-cache.ts";

export const configure: Configure = (command, context) => {
  command
    .argument("[REVISIONS...]", "branches, tags or commits to show beside the workspace")
    .option("-o, --out <FILE>", "where the page goes (default: plots.html in the state folder)")
    .option("--no-workspace", "leave the workspace out")
    .option("--json", "print where the page is as JSON")
    .action(async (revisions: string[], options: { out?: string; workspace: boolean; json?: boolean }) => {
      const output = context.output(options);
      const stateDir = stateDirectory();
      const file = resolve(context.cwd, options.out ?? join(stateDir, "plots.html"));
      await withCache(context, stateDir, output, async (cache) => {
        const versions: Version[] = [];
        for (const revision of revisions) versions.push(await commitVersion(context.cwd, revision, cache));
        // Last, as what the others are compared with.
        if (options.workspace || revisions.length === 0) versions.push(await workspaceVersion(context.cwd));
        await writeFileAtomic(file, renderPlotsPage(basename(context.cwd), versions));
      });
      output.result({ file }, `Wrote ${file}\nOpen ${pathToFileURL(file).href} in a browser.`);
    });
};
