import { Option } from "commander";
import { exportModel, type ExportFormat } from "../../../workflows/model/export-model.ts";
import type { Configure } from "../../command.ts";

export const configure: Configure = (command, context) => {
  command
    .addOption(
      new Option("--format <FORMAT>", "onnx (the whole model) or safetensors (its weights)")
        .choices(["onnx", "safetensors"])
        .makeOptionMandatory(),
    )
    .option("--model <MODEL>", "bundle folder, its model.onnx, a released model's name, or models:/NAME@ALIAS (default: SERVAL_MODEL)")
    .option("--out <FILE>", "file to write (default: the model's name in this folder)")
    .option("--json", "print the result as JSON")
    .action(async ({ json, ...flags }: { format: ExportFormat; model?: string; out?: string; json?: boolean }) => {
      const output = context.output({ json });
      const exported = await exportModel({ cwd: context.cwd, ...flags, reporter: output, signal: context.signal });
      const { file, sizeBytes, model } = exported;
      const text = `Wrote ${file} (${(sizeBytes / 1e6).toFixed(2)} MB), model ${model.name} version ${model.version}.`;
      output.result(exported, text);
    });
};
