import { join } from "node:path";
import type { Command } from "commander";
import { checkData } from "../../../data/check.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import { rawDir, shardsDir } from "../../../paths.ts";
import type { CommandContext } from "../../command.ts";
import { describeCheck, describeLabels, describePictures } from "../../describe/data.ts";
import { parseLimit, type Limit } from "../../options/parse-limit.ts";

interface CheckFlags {
  readonly labels?: boolean;
  readonly pictures?: boolean;
  readonly failOn?: string;
  readonly json?: boolean;
}

export function configureCheck(command: Command, context: CommandContext): void {
  command
    .description(
      "Show class balance, duplicates, conflicting labels, odd sizes and leaks between splits; find wrong labels and poor pictures.",
    )
    .option("--labels", "find labels that are probably wrong, with a page to look at them")
    .option("--pictures", "find dark, bright, flat and blurred pictures, with a page to look at them")
    .option("--fail-on <LIMIT>", "fail if --labels or --pictures finds more, as a number or a share such as 0.5%")
    .option("--json", "print the result as JSON")
    .action(async (options: CheckFlags) => {
      const limit = options.failOn === undefined ? undefined : parseLimit("--fail-on", options.failOn);
      if (limit !== undefined && options.labels !== true && options.pictures !== true) {
        throw new ServalError("E_USAGE", "--fail-on counts what --labels and --pictures find: give one of them, or both.");
      }
      const output = context.output(options);
      const { cwd, signal } = context;
      const report = await checkData(join(cwd, rawDir), join(cwd, shardsDir));
      const { checkLabels } = await import("../../../workflows/data/check-labels.ts");
      const { checkPictures } = await import("../../../workflows/data/check-pictures.ts");
      const pictures = options.pictures === true ? await checkPictures({ cwd, reporter: output, signal }) : undefined;
      const labels = options.labels === true ? await checkLabels({ cwd, reporter: output, signal }) : undefined;
      const texts = [describeCheck(report), ...(pictures ? [describePictures(pictures)] : []), ...(labels ? [describeLabels(labels)] : [])];
      output.result({ ...report, ...(pictures && { pictures }), ...(labels && { labels }) }, texts.join("\n"));
      if (limit === undefined) return;
      failAbove(limit, pictures?.found.length ?? 0, report.images, "pictures are dark, bright, flat or blurred");
      failAbove(limit, labels?.suspects.length ?? 0, labels?.images ?? 0, "labels are probably wrong");
    });
}

function failAbove(limit: Limit, count: number, all: number, what: string): void {
  if (count > limit.of(all)) throw new ServalError("E_DATA_QUALITY", `${count} of ${all} ${what} (limit ${limit.text}).`);
}
