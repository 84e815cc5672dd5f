import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { weightsFile, type Bundle } from "../../model/bundle.ts";
import { parseSafetensors, safetensorNumbers } from "../../model/safetensors.ts";
import type { Classifier } from "./class-activation.ts";

/** The names that our architectures give it. */
const weightName = "fc.weight";
const biasName = "fc.bias";
const readable: ReadonlySet<string> = new Set(["F32", "F16"]);

/** Reads the classifier of a bundle; null where its weights do not hold one, so that nothing can be explained. */
export async function readClassifier(bundle: Bundle): Promise<Classifier | null> {
  if (!(weightsFile in bundle.manifest.files)) return null;
  const { tensors, metadata } = parseSafetensors(await readFile(join(bundle.dir, weightsFile)));
  const [weight, bias] = [tensors[weightName], tensors[biasName]];
  const [classes, channels] = weight?.shape ?? [];
  if (weight === undefined || classes !== bundle.manifest.labels.length || channels === undefined) return null;
  // Other writers' number types cost the explanation, not the service.
  if (![weight, bias].every((tensor) => tensor === undefined || readable.has(tensor.dtype))) return null;
  return {
    classes,
    channels,
    embedding: metadata["embedding"] === "root" ? "root" : "mean",
    weight: safetensorNumbers(weightName, weight),
    bias: bias === undefined ? new Float32Array(classes) : safetensorNumbers(biasName, bias),
  };
}
