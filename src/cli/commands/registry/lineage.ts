import { traceModel, type Link } from "../../../workflows/registry/trace-model.ts";
import type { Configure } from "../../command.ts";

export const configure: Configure = (command, context) => {
  command
    .argument(
      "[MODEL]",
      "bundle folder, model.onnx, name of a released model or models:/ address (default: the released or the trained one)",
    )
    .option("--json", "print the links as JSON")
    .action(async (model: string | undefined, options: { json?: boolean }) => {
      const output = context.output(options);
      const lineage = await traceModel({ cwd: context.cwd, model, reporter: output, signal: context.signal });
      output.result(lineage, describeLinks(lineage.links));
    });
};

const marks = { proved: "✓", contradicted: "✗", unproved: "?" };

function describeLinks(links: readonly Link[]): string {
  const lines = links.map(({ link, state, text }) => `${marks[state]} ${link.padEnd(10)} ${text}`);
  const count = (state: Link["state"]): number => links.filter((link) => link.state === state).length;
  const summary = `${count("proved")} of ${links.length} links are proved, ${count("contradicted")} contradicted; the others (?) cannot be proved here.`;
  return [...lines, summary].join("\n");
}
