import { pathToFileURL } from "node:url";
import { drawPlots } from "../../../workflows/pipeline/draw-plots.ts";
import type { Configure } from "../../command.ts";

export const configure: Configure = (command, context) => {
  command
    .argument("[REVISIONS...]", "branches, tags or commits to show beside the workspace")
    .option("-o, --out <FILE>", "where the page goes (default: plots.html in the state folder)")
    .option("--no-workspace", "leave the workspace out")
    .option("--json", "print where the page is as JSON")
    .action(async (revisions: string[], { out, workspace, json }: { out?: string; workspace: boolean; json?: boolean }) => {
      const output = context.output({ json });
      const file = await drawPlots({ cwd: context.cwd, revisions, out, workspace, reporter: output, signal: context.signal });
      output.result({ file }, `Wrote ${file}\nOpen ${pathToFileURL(file).href} in a browser.`);
    });
};
