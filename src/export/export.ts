import type { Shards } from "../data/shards.ts";
import { defaultImageLimits } from "../image/check-image.ts";
import type { Preprocess } from "../image/preprocess.ts";
import { preprocessImage } from "../image/preprocess-image.ts";
import { modelFile, weightsFile, writeBundle, type Bundle, type BundleCheck } from "../model/bundle.ts";
import { readFeatureShape } from "../model/feature-shape.ts";
import { featureSpaceFile } from "../model/feature-space.ts";
import { encodeSafetensors, float16Safetensor, float32Safetensor, type Safetensor } from "../model/safetensors.ts";
import type { Precision } from "../nn/lower.ts";
import { elementCount } from "../onnx/builder.ts";
import { startInference } from "../runtime/inference.ts";
import { answerSplits, readReading } from "./answer-rows.ts";
import { fitFeatureSpace, type FittedFeatureSpace } from "./fit-feature-space.ts";
import { chooseAbstainBelow } from "../evaluate/abstain.ts";
import { answeredPart, computeMetrics, metricsSummary, topLabels, type Metrics } from "../evaluate/metrics.ts";
import { buildModelCard } from "./model-card.ts";
import { computeReference } from "./reference.ts";
import { fitTemperature, softenedProbabilities } from "../evaluate/temperature.ts";
import type { ExportedNetwork } from "../train/exported-network.ts";
import type { InitialWeights } from "../train/train-job.ts";

export interface ExportInput {
  readonly dir: string;
  readonly name: string;
  /** How the bundle holds weights. */
  readonly precision: Precision;
  /** Parameters and statistics by name, as the training left them. */
  readonly weights: Readonly<Record<string, Float32Array>>;
  readonly network: ExportedNetwork;
  /** For the model card. */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Side in pixels of the square cut from the centre of a prepared picture. */
  readonly cropSize: number;
  /** 0 uses all cores. */
  readonly threads: number;
  readonly seed: number;
  readonly shards: Shards;
  readonly epoch: { readonly chosen: number; readonly trained: number };
  readonly paramsHash: string;
  /** Encoded pictures that get a known answer; their content does not matter, only that it stays. */
  readonly checkImages: Readonly<Record<string, Uint8Array>>;
  readonly provenance: Readonly<Record<string, unknown>>;
  /** The model that the training began with. */
  readonly init?: Pick<InitialWeights, "name" | "digest" | "keepsHead"> | undefined;
  /** With a fine-tuned backbone: the share of the weights that is fine-tuned; the rest is as before fine-tuning. */
  readonly fineTunedShare?: number | undefined;
  /** The first paragraph of the model card: what the pictures are, where they are not photographs. */
  readonly notice?: string;
}

/** CPUs and builds of the engine round differently; a wrong model or preprocessing is off by far more. */
const checkTolerance = 0.002;

/**
 * Writes a bundle: fits the temperature and the abstain threshold on the validation split, records its metrics, the
 * reference statistics, and the model's own answers to the check images.
 */
export async function exportBundle(input: ExportInput): Promise<{ bundle: Bundle; metrics: Metrics }> {
  const { network, shards, weights, precision } = input;
  const size = { height: input.cropSize, width: input.cropSize };
  const metadata = { labels: JSON.stringify(shards.labels), producer: "serval" };
  const build = (temperature: number): Uint8Array =>
    network.encode(weights, { classes: shards.labels.length, ...size, temperature, metadata, precision });

  const measured = await measure(build(1), input, size);
  const { temperature, probabilities, metrics, abstainBelow, space } = measured;
  const { width, height, fit, kernel, orient } = shards;
  const whole = size.width === width && size.height === height;
  const preprocess: Preprocess = { orient, width, height, fit, kernel, crop: whole ? null : { width: size.width, height: size.height } };
  const model = build(temperature);
  const tensors = namedTensors(network, weights, precision);
  const card = describeModel(input, measured, { preprocess, tensors, vectorFeatures: readFeatureShape(model).length === 2 });
  const bundle = await writeBundle(input.dir, {
    manifest: {
      name: input.name,
      labels: [...shards.labels],
      preprocess,
      abstainBelow,
      metrics: { ...metricsSummary(metrics), temperature },
      reference: { ...computeReference({ shards, crop: preprocess.crop, validationProbabilities: probabilities }) },
      dataVersion: shards.dataVersion,
      split: { seed: shards.seed, shares: shards.shares, dedupe: shards.dedupe },
      paramsHash: input.paramsHash,
      ...(input.init && { init: input.init.digest }),
      ...(network.backbone && { backbone: network.backbone }),
      ...space?.manifest,
      seed: input.seed,
      checks: await answerChecks(model, preprocess, input.checkImages),
    },
    files: {
      [modelFile]: model,
      [weightsFile]: encodeSafetensors(tensors, {
        architecture: network.name,
        ...network.metadata,
        labels: JSON.stringify(shards.labels),
        mean: JSON.stringify(network.mean),
        std: JSON.stringify(network.std),
        temperature: String(temperature),
      }),
      ...(space && { [featureSpaceFile]: space.file }),
      ...Object.fromEntries(Object.entries(input.checkImages).map(([file, bytes]) => [`checks/${file}`, bytes])),
    },
    card,
    provenance: input.provenance,
    validation: answerLines(shards, measured.predicted),
  });
  return { bundle, metrics };
}

interface Measured {
  readonly temperature: number;
  /** [N, K] of the validation split, at that temperature. */
  readonly probabilities: Float32Array;
  /** Class index of each answer. */
  readonly predicted: Uint16Array;
  readonly metrics: Metrics;
  readonly abstainBelow: number | null;
  readonly space: FittedFeatureSpace | undefined;
}

/** What a bundle says about the model's answers to the validation split and about its features, from `model`, which has the temperature 1. */
async function measure(
  model: Uint8Array,
  { network, shards, threads }: ExportInput,
  size: { readonly width: number; readonly height: number },
): Promise<Measured> {
  const reading = readReading(model, network.metadata["embedding"]);
  const inference = await startInference(model, { imageShape: [size.height, size.width], ...(threads > 0 ? { threads } : {}) });
  const classes = shards.labels.length;
  try {
    const { logits, training, validation } = await answerSplits({ inference, shards, size, reading });
    const truth = shards.splits.val.classIndex;
    const temperature = fitTemperature(logits, truth, classes);
    const probabilities = softenedProbabilities(logits, classes, temperature);
    const top = topLabels(truth, probabilities, classes);
    return {
      temperature,
      probabilities,
      predicted: top.predicted,
      metrics: computeMetrics(shards.labels, truth, probabilities),
      abstainBelow: chooseAbstainBelow(top.confidence, top.correct),
      space: reading && fitFeatureSpace({ ...reading, training, validation }),
    };
  } finally {
    await inference.close();
  }
}

/** validation.jsonl: what the model said about each validation picture. */
function answerLines({ labels, splits: { val } }: Shards, predicted: Uint16Array): string {
  const line = (sha256: string, row: number): string =>
    JSON.stringify({ sha256, label: labels[val.classIndex[row] as number], predicted: labels[predicted[row] as number] });
  return val.sha256.map((sha256, row) => `${line(sha256, row)}\n`).join("");
}

/** The text of the model card. */
function describeModel(
  input: ExportInput,
  { probabilities, metrics, abstainBelow }: Measured,
  {
    preprocess,
    tensors,
    vectorFeatures,
  }: { readonly preprocess: Preprocess; readonly tensors: Readonly<Record<string, Safetensor>>; readonly vectorFeatures: boolean },
): string {
  const { network, shards } = input;
  const counts = (split: "train" | "val" | "test"): number[] =>
    shards.labels.map((_, k) => shards.splits[split].classIndex.reduce((sum, label) => sum + (label === k ? 1 : 0), 0));
  return buildModelCard({
    name: input.name,
    labels: shards.labels,
    images: { train: counts("train"), val: counts("val"), test: counts("test") },
    dataVersion: shards.dataVersion,
    preprocess,
    architecture: {
      name: network.name,
      parameterCount: Object.entries(tensors).reduce(
        (sum, [name, { shape }]) => sum + (/running_(mean|var)$/.test(name) ? 0 : elementCount(shape)),
        network.otherParameters ?? 0,
      ),
    },
    parameters: input.parameters,
    epoch: input.epoch,
    metrics,
    answered: answeredPart({ labels: shards.labels, truth: shards.splits.val.classIndex, probabilities }, abstainBelow),
    seed: input.seed,
    vectorFeatures,
    ...(input.init && { init: input.init }),
    ...(network.backbone && { backbone: network.backbone }),
    fineTunedShare: input.fineTunedShare,
    ...(input.notice === undefined ? {} : { notice: input.notice }),
  });
}

async function answerChecks(
  model: Uint8Array,
  preprocess: Preprocess,
  images: Readonly<Record<string, Uint8Array>>,
): Promise<BundleCheck[]> {
  const { width, height } = preprocess.crop ?? preprocess;
  const inference = await startInference(model, { imageShape: [height, width] });
  try {
    const checks: BundleCheck[] = [];
    for (const [file, bytes] of Object.entries(images)) {
      const { probabilities } = await inference.run(await preprocessImage(bytes, preprocess, defaultImageLimits), 1);
      checks.push({ file: `checks/${file}`, probabilities: [...probabilities], tolerance: checkTolerance });
    }
    return checks;
  } finally {
    await inference.close();
  }
}

/** Weights with the shapes that they have in the network: PyTorch's names and layouts. */
function namedTensors(
  { tensors }: ExportedNetwork,
  weights: Readonly<Record<string, Float32Array>>,
  precision: Precision,
): Record<string, Safetensor> {
  const encode = (shape: readonly number[], data: Float32Array): Safetensor =>
    precision === "float16" && shape.length > 1 ? float16Safetensor(shape, data) : float32Safetensor(shape, data);
  return Object.fromEntries(tensors.flatMap(({ name, shape }) => (weights[name] ? [[name, encode(shape, weights[name])]] : [])));
}
