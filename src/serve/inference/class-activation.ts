import { ServalError } from "../../errors/serval-error.ts";

/** The linear layer behind global average pooling: logit k = bias[k] + sum over c of weight[k,c] * embedding[c]. */
export interface Classifier {
  readonly classes: number;
  readonly channels: number;
  /** What the layer takes of each feature map: its mean, or the square root of that. */
  readonly embedding: "mean" | "root";
  /** [K,C] */
  readonly weight: Float32Array;
  /** [K] */
  readonly bias: Float32Array;
}

/**
 * Class activation map (Zhou et al. 2016, arXiv:1512.04150): where the maps speak for or against a class. `features`
 * [C,h,w] of one image. The map's mean plus the bias is the logit, exactly; that it is so for this model is checked
 * against `logit`. Throws E_EXPLAIN where it is not.
 */
export function classActivation(
  classifier: Classifier,
  features: Float32Array,
  pixels: number,
  classIndex: number,
  logit: number,
): Float32Array {
  const { channels, weight, bias, embedding } = classifier;
  const map = new Float32Array(pixels);
  for (let c = 0; c < channels; c++) {
    const own = weight[classIndex * channels + c] as number;
    // The root of a mean m is m / root(m): for one picture the layer is linear in the maps, with weights of that picture.
    const w = embedding === "root" ? own / Math.sqrt(meanOf(features, c * pixels, pixels)) : own;
    if (!Number.isFinite(w)) continue;
    for (let i = 0; i < pixels; i++) map[i] = (map[i] as number) + w * (features[c * pixels + i] as number);
  }
  const mean = map.reduce((sum, value) => sum + value, 0) / pixels;
  const expected = mean + (bias[classIndex] ?? 0);
  if (features.length !== channels * pixels || !(Math.abs(expected - logit) <= 1e-3 * Math.max(1, Math.abs(logit)))) {
    throw new ServalError(
      "E_EXPLAIN",
      `The model's features and weights give the logit ${expected}, the model itself ${logit}: it is not average pooling and one linear layer.`,
    );
  }
  return map;
}

function meanOf(values: Float32Array, start: number, count: number): number {
  let sum = 0;
  for (let i = start; i < start + count; i++) sum += values[i] as number;
  return sum / count;
}
