import { join } from "node:path";
import type { Command } from "commander";
import { checkData } from "../../../data/check.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import { rawDir, shardsDir } from "../../../paths.ts";
import type { CommandContext } from "../../command.ts";
import { describeCheck, describeLabels } from "../../describe/data.ts";
import { parseLimit } from "../../options/parse-limit.ts";

interface CheckFlags {
  readonly labels?: boolean;
  readonly failOn?: string;
  readonly json?: boolean;
}

export function configureCheck(command: Command, context: CommandContext): void {
  command
    .description("Show class balance, duplicates, conflicting labels, odd sizes and leaks between splits; find wrong labels.")
    .option("--labels", "find labels that are probably wrong, with a page to look at them")
    .option("--fail-on <LIMIT>", "with --labels: fail if more labels are suspect, as a number or a share such as 0.5%")
    .option("--json", "print the result as JSON")
    .action(async (options: CheckFlags) => {
      const limit = options.failOn === undefined ? undefined : parseLimit("--fail-on", options.failOn);
      if (limit !== undefined && options.labels !== true)
        throw new ServalError("E_USAGE", "--fail-on counts what --labels finds: give both.");
      const output = context.output(options);
      const report = await checkData(join(context.cwd, rawDir), join(context.cwd, shardsDir));
      if (options.labels !== true) {
        output.result(report, describeCheck(report));
        return;
      }
      const { checkLabels } = await import("../../../workflows/data/check-labels.ts");
      const labels = await checkLabels({ cwd: context.cwd, reporter: output, signal: context.signal });
      output.result({ ...report, labels }, `${describeCheck(report)}\n${describeLabels(labels)}`);
      const count = labels.suspects.length;
      if (limit !== undefined && count > limit.of(labels.images)) {
        throw new ServalError("E_DATA_QUALITY", `${count} of ${labels.images} labels are probably wrong (limit ${limit.text}).`);
      }
    });
}
