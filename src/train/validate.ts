import type { Shards } from "../data/shards.ts";
import type { Architecture } from "../nn/architectures/architecture.ts";
import { buildInferenceModel } from "../nn/inference-model.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { Engine } from "../runtime/engine.ts";
import { readCentered } from "./batches/batches.ts";
import { computeMetrics, type Metrics } from "../evaluate/metrics.ts";
import type { TrainConfig } from "./train-job.ts";

const batchSize = 64;

export interface ValidateOptions {
  readonly engine: Engine;
  readonly architecture: Architecture;
  readonly config: TrainConfig;
  readonly shards: Shards;
  /** Parameters and statistics by name. */
  readonly weights: Readonly<Record<string, Float32Array>>;
  readonly threads: number;
}

/**
 * Measures weights on the validation split, with the network in the form that the export writes. Undefined where its answers are NaN,
 * because the weights have become infinite or nearly so.
 */
export async function validate({ engine, architecture, config, shards, weights, threads }: ValidateOptions): Promise<Metrics | undefined> {
  const classes = shards.labels.length;
  const size = { width: config.cropSize, height: config.cropSize };
  const model = buildInferenceModel(architecture, weights, { ...config, ...size, classes, temperature: 1 });
  const session = await engine.createSession(encodeModel(model), { threads });
  const { count, classIndex } = shards.splits.val;
  const probabilities = new Float32Array(count * classes);
  for (let start = 0; start < count; start += batchSize) {
    const rows = Math.min(batchSize, count - start);
    const data = readCentered(shards, "val", start, rows, size);
    const outputs = await session.run({ images: { dtype: "uint8", shape: [rows, size.height, size.width, 3], data } });
    probabilities.set(outputs["probabilities"]?.data as Float32Array, start * classes);
  }
  await session.close();
  return probabilities.some(Number.isNaN) ? undefined : computeMetrics(shards.labels, classIndex, probabilities);
}
