import { join } from "node:path";
import { Option } from "commander";
import { checkData } from "../../../data/check.ts";
import type { LabelsFrom } from "../../../data/layout/layout.ts";
import { presets } from "../../../data/sources/preset.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import { importData, rawDir } from "../../../workflows/data/import-data.ts";
import { shardsDir } from "../../../workflows/data/prepare-data.ts";
import type { Configure } from "../../command.ts";
import { describeCheck, describeImport } from "../../describe/data.ts";
import { addFollowLinkFlag, type FollowLinkFlag } from "../../options/follow-link.ts";

interface ImportFlags extends FollowLinkFlag {
  readonly preset?: string;
  readonly out: string;
  readonly dry?: boolean;
  readonly labelsFrom: LabelsFrom;
  readonly zipEncoding?: string;
  readonly json?: boolean;
}

export const configure: Configure = (command, context) => {
  addFollowLinkFlag(command.command("import"))
    .description("Bring in labelled images; broken files go to quarantine with a report.")
    .argument(
      "[SOURCE]",
      "zip, folder with one subfolder per class, http(s) URL of a zip, or `sample` (default: data.source of params.yaml)",
    )
    .option("--preset <NAME>", `a public data set: ${Object.keys(presets).join(", ")}`)
    .option("--out <DIR>", "where the images go", rawDir)
    .option("--dry", "say what would change in the data, and write nothing")
    .addOption(
      new Option("--labels-from <WHERE>", "folder names, or file names as in rose.0.jpg").choices(["folder", "name"]).default("folder"),
    )
    .option("--zip-encoding <NAME>", "how names in a zip are written that are not UTF-8: gbk, shift_jis, big5, euc-kr, ...")
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
  command
    .command("check")
    .description("Show class balance, duplicates, conflicting labels, odd sizes and leaks between splits.")
    .option("--json", "print the result as JSON")
    .action(async (options: { json?: boolean }) => {
      const report = await checkData(join(context.cwd, rawDir), join(context.cwd, shardsDir));
      context.output(options).result(report, describeCheck(report));
    });
};
