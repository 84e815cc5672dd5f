import { readFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { Option } from "commander";
import { loadSettings } from "../../../config/settings.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import { writeFileAtomic } from "../../../files.ts";
import { loadBundle, modelFile, shortDigest, weightsFile } from "../../../model/bundle.ts";
import { resolveModel } from "../../../model/resolve-model.ts";
import { checkModel } from "../../../onnx/check-model.ts";
import type { Configure } from "../../command.ts";
import { findModel } from "../../find-model.ts";

export type ExportFormat = "onnx" | "safetensors";

/** The file of the bundle that has the format, and the ending it is given outside. */
const formats: Readonly<Record<ExportFormat, { readonly file: string; readonly ending: string }>> = {
  onnx: { file: modelFile, ending: ".onnx" },
  safetensors: { file: weightsFile, ending: ".safetensors" },
};

export interface ExportOptions {
  /** The working repository. */
  readonly cwd: string;
  readonly format: ExportFormat;
  readonly model?: string | undefined;
  /** File to write, relative to `cwd`; default: the model's name with the format's ending. */
  readonly out?: string | undefined;
}

export interface ExportedModel {
  /** Relative to the working repository. */
  readonly file: string;
  readonly format: ExportFormat;
  readonly model: { readonly name: string; readonly version: string };
  readonly sizeBytes: number;
}

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
    .action(async (options: { format: ExportFormat; model?: string; out?: string; json?: boolean }) => {
      const { model } = loadSettings();
      const output = context.output(options);
      const { dir } = await findModel(options.model ?? model ?? undefined, context.cwd, output, context.signal);
      const exported = await exportModel({ ...options, cwd: context.cwd, model: dir });
      const { file, sizeBytes } = exported;
      const text = `Wrote ${file} (${(sizeBytes / 1e6).toFixed(2)} MB), model ${exported.model.name} version ${exported.model.version}.`;
      output.result(exported, text);
    });
};

/** Copies a model out of its bundle, after the bundle's hashes were checked. */
export async function exportModel({ cwd, format, model, out }: ExportOptions): Promise<ExportedModel> {
  const bundle = await loadBundle((await resolveModel(model, cwd)).dir);
  const { file, ending } = formats[format];
  if (!(file in bundle.manifest.files)) {
    throw new ServalError("E_BUNDLE_MISSING", `${bundle.dir} holds no ${file}.`, {
      hint: "Export another format, or train the model again.",
    });
  }
  const bytes = await readFile(join(bundle.dir, file));
  // Other programs may follow what the file says.
  if (file === modelFile) checkModel(bytes);
  const target = resolve(cwd, out ?? `${bundle.manifest.name}${ending}`);
  await writeFileAtomic(target, bytes);
  const { name } = bundle.manifest;
  return { file: relative(cwd, target), format, model: { name, version: shortDigest(bundle) }, sizeBytes: bytes.length };
}
