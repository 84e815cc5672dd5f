import { relative } from "node:path";
import { Option, type Command } from "commander";
import { tableFormats, type TableFormat } from "../../../predictions/table-format.ts";
import type { CommandContext, Configure } from "../../command.ts";
import { parseTime } from "../../options/parse-time.ts";

export const configure: Configure = (command, context) => {
  configureImport(command.command("import").description("Import an SQLite file of predictions into PostgreSQL."), context);
  configureExport(command.command("export").description("Export the stored predictions and their feedback to one file."), context);
};

function configureImport(command: Command, context: CommandContext): void {
  command
    .argument("[FILE]", "the SQLite file (default: predictions.db of the state folder)")
    .option("--json", "print the result as JSON")
    .addHelpText("after", "\nSERVAL_PREDICTIONS_URL says which PostgreSQL. What is there already stays as it is.")
    .action(async (file: string | undefined, { json }: { json?: boolean }) => {
      const output = context.output({ json });
      const { importPredictions } = await import("../../../workflows/service/import-predictions.ts");
      const result = await importPredictions({ cwd: context.cwd, file, reporter: output, signal: context.signal });
      output.result(result, `Brought ${result.predictions} predictions, ${result.withFeedback} of them with feedback, into PostgreSQL.`);
    });
}

interface ExportFlags {
  readonly format: TableFormat;
  readonly out?: string;
  readonly since?: Date;
  readonly json?: boolean;
}

function configureExport(command: Command, context: CommandContext): void {
  command
    .addOption(new Option("--format <FORMAT>", "format of the file").choices(tableFormats).default("jsonl"))
    .option("--since <TIME>", "only what was predicted since then: 7d, 12h, a date or a time", (text) => parseTime("--since", text))
    .option("--out <FILE>", "the file (default: predictions.FORMAT)")
    .option("--json", "print the result as JSON")
    .action(async ({ json, ...flags }: ExportFlags) => {
      const output = context.output({ json });
      const { exportPredictions } = await import("../../../workflows/service/export-predictions.ts");
      const result = await exportPredictions({ cwd: context.cwd, ...flags, reporter: output, signal: context.signal });
      const file = relative(context.cwd, result.file);
      output.result(result, `Wrote ${result.predictions} predictions, ${result.withFeedback} of them with feedback, to ${file}.`);
    });
}
