import { ServalError } from "../errors.ts";
import { preprocessImage } from "../image/preprocess.ts";
import type { ServiceMetrics } from "../monitor/metrics.ts";
import type { ServeLimits } from "./limits.ts";
import { imageLimits, type ServedModel } from "./served-model.ts";

export interface Prediction {
  readonly label: string;
  /** Probability of `label`. */
  readonly confidence: number;
  /** By label, in the bundle's order. */
  readonly probabilities: Readonly<Record<string, number>>;
  readonly timings: PredictionTimings;
}

export interface PredictionTimings {
  readonly preprocessMs: number;
  /** Waiting for the model. */
  readonly queueMs: number;
  readonly modelMs: number;
}

export interface Predictor {
  /** Predictions that are waiting or running. */
  readonly depth: number;
  /** Throws E_IMAGE_*, E_QUEUE_FULL, E_PREDICTION_TIMEOUT, E_INFERENCE_STOPPED or E_ENGINE_RUN. */
  predict(image: Uint8Array): Promise<Prediction>;
}

/** Answers for one model, with a bound on what may wait: beyond it, a quick 503 is kinder than a late answer. */
export function createPredictor(model: ServedModel, limits: ServeLimits, metrics?: ServiceMetrics): Predictor {
  let depth = 0;
  const setDepth = (value: number): void => {
    depth = value;
    metrics?.setQueueDepth(value);
  };
  return {
    get depth() {
      return depth;
    },
    async predict(image) {
      if (depth >= limits.queueLimit) {
        throw new ServalError("E_QUEUE_FULL", `${depth} predictions are waiting or running, and ${limits.queueLimit} may.`);
      }
      setDepth(depth + 1);
      // The place in the queue is free again when the work ends, not when the client was told that it takes too long.
      const work = answer(model, image, limits).finally(() => setDepth(depth - 1));
      const prediction = await withTimeout(work, limits.requestTimeoutMs);
      const { label, confidence, timings } = prediction;
      metrics?.countPrediction({ label, confidence, modelVersion: model.version });
      metrics?.observePhase("preprocess", timings.preprocessMs / 1000);
      metrics?.observePhase("queue", timings.queueMs / 1000);
      metrics?.observePhase("model", timings.modelMs / 1000);
      return prediction;
    },
  };
}

async function answer({ bundle, inference }: ServedModel, image: Uint8Array, limits: ServeLimits): Promise<Prediction> {
  const { labels, preprocess } = bundle.manifest;
  const startedAt = performance.now();
  const pixels = await preprocessImage(image, preprocess, imageLimits(limits));
  const preprocessedAt = performance.now();
  const { probabilities, durationMs: modelMs } = await inference.run(pixels, 1);
  const waitedMs = performance.now() - preprocessedAt;
  return {
    ...bestOf(labels, probabilities),
    timings: { preprocessMs: preprocessedAt - startedAt, queueMs: Math.max(0, waitedMs - modelMs), modelMs },
  };
}

/** The most probable label; of equal ones the first. Throws E_ENGINE_RUN where the model gave no numbers. */
function bestOf(labels: readonly string[], probabilities: Float32Array): Omit<Prediction, "timings"> {
  let best = 0;
  for (let k = 1; k < probabilities.length; k++) if ((probabilities[k] ?? 0) > (probabilities[best] ?? 0)) best = k;
  const confidence = probabilities[best];
  const label = labels[best];
  if (probabilities.length !== labels.length || confidence === undefined || label === undefined || !probabilities.every(Number.isFinite)) {
    throw new ServalError("E_ENGINE_RUN", `The model answered [${probabilities.join(", ")}] for the labels ${labels.join(", ")}.`);
  }
  return { label, confidence, probabilities: Object.fromEntries(labels.map((name, k) => [name, probabilities[k] ?? 0])) };
}

async function withTimeout<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new ServalError("E_PREDICTION_TIMEOUT", `No answer within ${timeoutMs} ms.`)), timeoutMs);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
    // Whatever becomes of it after the timeout, nobody waits for it any more.
    work.catch(() => undefined);
  }
}
