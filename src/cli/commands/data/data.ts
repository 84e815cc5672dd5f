import { presets } from "../../../data/sources/preset.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import { rawDir } from "../../../paths.ts";
import { importData } from "../../../workflows/data/import-data.ts";
import type { Configure } from "../../command.ts";
import { describeImport } from "../../describe/data.ts";
import { addFollowLinkFlag, type FollowLinkFlag } from "../../options/follow-link.ts";
import { addSourceFlags, type SourceFlags } from "../../options/source-flags.ts";
import { configureCheck } from "./check.ts";
import { configureCorrect } from "./correct.ts";

interface ImportFlags extends FollowLinkFlag, SourceFlags {
  readonly preset?: string;
  readonly out: string;
  readonly dry?: boolean;
  readonly json?: boolean;
}

export const configure: Configure = (command, context) => {
  addSourceFlags(addFollowLinkFlag(command.command("import")))
    .description("Import labelled images; broken files go to quarantine with a report.")
    .argument(
      "[SOURCE]",
      "zip, folder with one subfolder per class, http(s) URL of a zip, or `sample` (default: data.source of params.yaml)",
    )
    .option("--preset <NAME>", `a public data set: ${Object.keys(presets).join(", ")}`)
    .option("--out <DIR>", "where the images go", rawDir)
    .option("--dry", "show what would change in the data, without writing anything")
    .option("--json", "print the result as JSON")
    .action(async (given: string | undefined, options: ImportFlags) => {
      const { preset, out, followLink, labelsFrom, zipEncoding, dry } = options;
      if (given !== undefined && preset !== undefined) {
        throw new ServalError("E_USAGE", `Both a source ("${given}") and --preset ${preset} were given; expected one of them.`);
      }
      const output = context.output(options);
      const source = given ?? (preset === undefined ? undefined : `preset:${preset}`);
      const how = { labelsFrom, zipEncoding, dry, followLink, reporter: output, signal: context.signal };
      const report = await importData({ cwd: context.cwd, source, out, ...how });
      output.result(report, describeImport(report, out));
    });
  configureCheck(command.command("check"), context);
  configureCorrect(command.command("correct"), context);
};
