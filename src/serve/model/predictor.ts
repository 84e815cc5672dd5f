import { ServalError } from "../../errors/serval-error.ts";
import type { ServiceMetrics } from "../../monitor/metrics.ts";
import type { ImageStatistics } from "../../image/statistics.ts";
import type { PlaceInSpace } from "../../model/feature-space.ts";
import type { AbstainReason } from "../../predictions/prediction-store.ts";
import type { ServeLimits } from "../inference/limits.ts";
import type { AnswerOf, PredictAnswers, PredictTask, TaskTimings } from "../inference/predict-call.ts";
import type { ServedModel } from "./served-model.ts";

export interface Prediction {
  readonly model: { readonly name: string; readonly version: string };
  /** The most probable label. */
  readonly label: string;
  /** Probability of `label`. */
  readonly confidence: number;
  /** By label, in the bundle's order. */
  readonly probabilities: Readonly<Record<string, number>>;
  /** Why a service that abstains gives no label; null where it gives one. */
  readonly doubt: AbstainReason | null;
  /** Of the picture as it was sent; undefined where its header does not say. */
  readonly size: { readonly width: number; readonly height: number } | undefined;
  /** Of the pixels that the model took. */
  readonly statistics: ImageStatistics;
  /** Null where the bundle knows nothing about features. */
  readonly place: PlaceInSpace | null;
  readonly timings: PredictionTimings;
}

export interface PredictionTimings extends TaskTimings {
  /** Waiting for a thread. */
  readonly queueMs: number;
}

/** The tensors of an inference request, and how long it waited for a thread. */
export type Inference = AnswerOf<PredictTask & { kind: "infer" }> & { readonly queueMs: number };

export interface Explanation extends Prediction {
  /** The class that is explained, and its logit. */
  readonly explained: string;
  readonly logit: number;
  readonly map: AnswerOf<PredictTask & { kind: "explain" }>["map"];
  readonly overlay: Uint8Array | null;
}

export interface PredictOptions {
  readonly signal?: AbortSignal;
  /** The bytes are not needed any more: they move to the thread instead of being copied. */
  readonly disposable?: boolean;
}

/** The model of this moment; a slot is one. */
export interface PredictTarget {
  readonly current: ServedModel;
  readonly depth: number;
}

/**
 * A queue that was full will not get shorter by being long: as long as requests are refused, and a second after, only this
 * share of it is used, so that those who get in are answered soon. The threads have enough to do with far less.
 */
const overloadShare = 1 / 8;
const overloadTasksPerWorker = 4;
const overloadMs = 1000;

/** A model that stays. */
export function fixedTarget(model: ServedModel): PredictTarget {
  return {
    current: model,
    get depth() {
      return model.pool.depth;
    },
  };
}

/** Answers of the model in `slot`, with a bound on what may wait: beyond it, a quick 503 is kinder than a late answer. */
export class Predictor {
  readonly #slot: PredictTarget;
  readonly #limits: ServeLimits;
  readonly #metrics: ServiceMetrics | undefined;
  #overloadedUntil = Number.NEGATIVE_INFINITY;

  constructor(slot: PredictTarget, limits: ServeLimits, metrics?: ServiceMetrics) {
    this.#slot = slot;
    this.#limits = limits;
    this.#metrics = metrics;
  }

  /** Predictions that are waiting or running. */
  get depth(): number {
    return this.#slot.depth;
  }

  /** Throws E_QUEUE_FULL where there is no room: asked before a body is read, so that a refusal costs little. */
  assertRoom(): void {
    const { depth, current } = this.#slot;
    const { queueLimit } = this.#limits;
    const now = performance.now();
    const room =
      now < this.#overloadedUntil
        ? Math.min(queueLimit, Math.max(overloadTasksPerWorker * current.pool.workers, Math.ceil(queueLimit * overloadShare)))
        : queueLimit;
    if (depth < room) return;
    this.#overloadedUntil = now + overloadMs;
    throw new ServalError("E_QUEUE_FULL", `The queue is full: ${depth} predictions waiting or running (limit ${room}).`);
  }

  /** Throws E_IMAGE_*, E_QUEUE_FULL, E_PREDICTION_TIMEOUT, E_INFERENCE_STOPPED, E_ENGINE_RUN, or the signal's reason. */
  async predict(image: Uint8Array, { signal, disposable = false }: PredictOptions = {}): Promise<Prediction> {
    this.assertRoom();
    const startedAt = performance.now();
    const model = this.#slot.current;
    const { costly, work, size } = model.look(image);
    // Nothing is awaited otherwise: there is room at this moment.
    const picture = costly ? await model.decode(image, { work, ...this.#rest(signal, startedAt) }) : { encoded: image };
    const options = { ...this.#rest(signal, startedAt), disposable };
    const answer = await model.pool.run({ kind: "predict", picture }, options);
    return { ...this.#conclude(model, answer, startedAt), size };
  }

  /** The same, and where in the image `label` (default: the answer) was seen. Throws E_EXPLAIN or E_LABEL_UNKNOWN too. */
  async explain(
    image: Uint8Array,
    { label, overlay, signal }: { label?: string | undefined; overlay: boolean; signal?: AbortSignal },
  ): Promise<Explanation> {
    this.assertRoom();
    const startedAt = performance.now();
    const model = this.#slot.current;
    const { labels } = model.bundle.manifest;
    const classIndex = label === undefined ? undefined : labels.indexOf(label);
    if (classIndex === -1)
      throw new ServalError("E_LABEL_UNKNOWN", `Unknown label "${label}". The model's labels are ${labels.join(", ")}.`);
    const { costly, work, size } = model.look(image);
    const picture = costly ? await model.decode(image, { work, forMap: overlay, ...this.#rest(signal, startedAt) }) : { encoded: image };
    const answer = await model.pool.run({ kind: "explain", picture, classIndex, overlay }, this.#rest(signal, startedAt));
    const explained = labels[answer.classIndex] ?? "";
    return { ...this.#conclude(model, answer, startedAt), size, explained, logit: answer.logit, map: answer.map, overlay: answer.overlay };
  }

  /** Runs a model on pixels uint8 [count,H,W,3] that were checked against it. */
  async infer(model: ServedModel, images: Uint8Array, count: number, features: boolean, signal?: AbortSignal): Promise<Inference> {
    this.assertRoom();
    const startedAt = performance.now();
    const answer = await model.pool.run({ kind: "infer", images, count, features }, this.#rest(signal, startedAt));
    this.#metrics?.observePhase("model", answer.modelMs / 1000);
    return { ...answer, queueMs: Math.max(0, performance.now() - startedAt - answer.modelMs) };
  }

  /** What is left of a request's time. */
  #rest(signal: AbortSignal | undefined, startedAt: number): { signal: AbortSignal | undefined; timeoutMs: number } {
    return { signal, timeoutMs: Math.max(1, this.#limits.requestTimeoutMs - (performance.now() - startedAt)) };
  }

  #conclude(model: ServedModel, answer: PredictAnswers["predict"], startedAt: number): Omit<Prediction, "size"> {
    const best = bestOf(model.bundle.manifest.labels, answer.probabilities);
    const { preprocessMs, modelMs } = answer.timings;
    const queueMs = Math.max(0, performance.now() - startedAt - preprocessMs - modelMs);
    this.#metrics?.observePhase("preprocess", preprocessMs / 1000);
    this.#metrics?.observePhase("queue", queueMs / 1000);
    this.#metrics?.observePhase("model", modelMs / 1000);
    return {
      model: { name: model.name, version: model.version },
      ...best,
      doubt: findDoubt(model, best.confidence, answer.place),
      statistics: answer.statistics,
      place: answer.place,
      timings: { preprocessMs, modelMs, queueMs },
    };
  }
}

/** Why an answer is not to be relied on, by the thresholds that were measured for the model; null where it is. */
export function findDoubt({ bundle, space }: ServedModel, confidence: number, place: PlaceInSpace | null): AbstainReason | null {
  const { abstainBelow } = bundle.manifest;
  if (space?.outliers && place?.outlierScore != null && place.outlierScore > space.outliers.threshold) return "unknown_input";
  return abstainBelow !== null && confidence < abstainBelow ? "low_confidence" : null;
}

/** The most probable label; of equal ones the first. Throws E_ENGINE_RUN where the model gave no numbers. */
export function bestOf(labels: readonly string[], probabilities: Float32Array): Pick<Prediction, "label" | "confidence" | "probabilities"> {
  let best = 0;
  for (let k = 1; k < probabilities.length; k++) if ((probabilities[k] ?? 0) > (probabilities[best] ?? 0)) best = k;
  const confidence = probabilities[best];
  const label = labels[best];
  if (probabilities.length !== labels.length || confidence === undefined || label === undefined || !probabilities.every(Number.isFinite)) {
    throw new ServalError("E_ENGINE_RUN", `The model answered [${probabilities.join(", ")}] for the labels ${labels.join(", ")}.`);
  }
  return { label, confidence, probabilities: Object.fromEntries(labels.map((name, k) => [name, probabilities[k] ?? 0])) };
}
