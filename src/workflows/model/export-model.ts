import { readFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { loadSettings } from "../../config/settings.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { writeFileAtomic } from "../../files.ts";
import { loadBundle, modelFile, shortDigest, weightsFile } from "../../model/bundle.ts";
import { checkModel } from "../../onnx/check-model.ts";
import { findModel } from "../find-model.ts";
import type { UseCaseOptions } from "../reporter.ts";

export type ExportFormat = "onnx" | "safetensors";

/** The file of the bundle that has the format, and the ending it is given outside. */
const formats: Readonly<Record<ExportFormat, { readonly file: string; readonly ending: string }>> = {
  onnx: { file: modelFile, ending: ".onnx" },
  safetensors: { file: weightsFile, ending: ".safetensors" },
};

export interface ExportModelOptions extends UseCaseOptions {
  readonly format: ExportFormat;
  /** A bundle folder, its model.onnx, a released model's name or a `models:/` address; default: SERVAL_MODEL, else the released model. */
  readonly model?: string | undefined;
  /** File to write, relative to `cwd`; default: the model's name with the format's ending. */
  readonly out?: string | undefined;
}

export interface ExportedFile {
  /** Relative to the working repository. */
  readonly file: string;
  readonly format: ExportFormat;
  readonly model: { readonly name: string; readonly version: string };
  readonly sizeBytes: number;
}

/** Copies a model out of its bundle, after the bundle's hashes were checked. */
export async function exportModel({ format, model, out, ...options }: ExportModelOptions): Promise<ExportedFile> {
  const { cwd } = options;
  const bundle = await loadBundle((await findModel(model ?? loadSettings().model ?? undefined, options)).dir);
  const { file, ending } = formats[format];
  if (!(file in bundle.manifest.files)) {
    throw new ServalError("E_BUNDLE_MISSING", `${bundle.dir} has no ${file}.`, {
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
