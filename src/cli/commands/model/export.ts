import { Option } from "commander";
import { ServalError } from "../../../errors/serval-error.ts";
import { exportModel, type ExportFormat } from "../../../workflows/model/export-model.ts";
import { refitModel } from "../../../workflows/model/refit-model.ts";
import type { Configure } from "../../command.ts";

interface Flags {
  readonly format?: ExportFormat;
  readonly refit?: boolean;
  readonly model?: string;
  readonly out?: string;
  readonly json?: boolean;
}

export const configure: Configure = (command, context) => {
  command
    .addOption(new Option("--format <FORMAT>", "onnx (the whole model) or safetensors (its weights)").choices(["onnx", "safetensors"]))
    .addOption(
      new Option(
        "--refit",
        "add outlier score, projection and reference to the bundle itself, from its model and the prepared data, without training",
      ).conflicts(["format", "out"]),
    )
    .option("--model <MODEL>", "bundle folder, its model.onnx, a released model's name, or models:/NAME@ALIAS (default: SERVAL_MODEL)")
    .option("--out <FILE>", "file to write (default: the model's name in this folder)")
    .option("--json", "print the result as JSON")
    .action(async ({ json, format, refit, model, out }: Flags) => {
      const output = context.output({ json });
      const shared = { cwd: context.cwd, model, reporter: output, signal: context.signal };
      if (refit) {
        const { dir, name, before, version, unknownAbove } = await refitModel(shared);
        const score =
          unknownAbove === null ? "too few validation pictures for an outlier score" : `unknown inputs above ${unknownAbove.toFixed(4)}`;
        output.result(
          { dir, name, before, version, unknownAbove },
          `Fitted ${name} in ${dir}: ${score}. Version ${before} is ${version} now.`,
        );
        return;
      }
      if (format === undefined) throw new ServalError("E_USAGE", "Expected --format onnx, --format safetensors or --refit.");
      const exported = await exportModel({ ...shared, format, out });
      const { file, sizeBytes, model: written } = exported;
      output.result(exported, `Wrote ${file} (${(sizeBytes / 1e6).toFixed(2)} MB), model ${written.name} version ${written.version}.`);
    });
};
