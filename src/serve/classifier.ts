import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { weightsFile, type Bundle } from "../model/bundle.ts";
import { parseSafetensors, type SafetensorsFile } from "../model/safetensors.ts";
import type { Classifier } from "./class-activation.ts";

/** The names that our architectures give it. */
const weightName = "fc.weight";
const biasName = "fc.bias";

/** Reads the classifier of a bundle; null where its weights do not hold one, so that nothing can be explained. */
export async function readClassifier(bundle: Bundle): Promise<Classifier | null> {
  if (!(weightsFile in bundle.manifest.files)) return null;
  const file = parseSafetensors(await readFile(join(bundle.dir, weightsFile)));
  const weight = floats(file, weightName);
  const [classes, channels] = weight?.shape ?? [];
  if (weight === undefined || classes !== bundle.manifest.labels.length || channels === undefined) return null;
  const bias = floats(file, biasName)?.values ?? new Float32Array(classes);
  return { classes, channels, weight: weight.values, bias };
}

function floats({ tensors }: SafetensorsFile, name: string): { shape: readonly number[]; values: Float32Array } | undefined {
  const tensor = tensors[name];
  if (tensor?.dtype !== "F32") return undefined;
  // A copy of its own: the file's megabytes need not stay.
  return { shape: tensor.shape, values: new Float32Array(Uint8Array.from(tensor.data).buffer) };
}
