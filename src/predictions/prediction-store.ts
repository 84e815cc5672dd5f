import type { ImageStatistics } from "../image/statistics.ts";
import { ServalError } from "../errors/serval-error.ts";
import type { AnswerPlace, WindowOf, WindowStore } from "./window-store.ts";

/** One answer of the service: what feedback refers to later. Never the image, its name or an address. */
export interface LoggedPrediction {
  readonly requestId: string;
  readonly atMs: number;
  readonly modelName: string;
  readonly modelVersion: string;
  /** The most probable label, also where the service abstained. */
  readonly label: string;
  readonly confidence: number;
  readonly probabilities: Readonly<Record<string, number>>;
  /** Name of the API key that asked; null where the service has no keys. */
  readonly keyName: string | null;
  /** Null: version 0.1 stored it, which knew none of them. */
  readonly facts: PredictionFacts | null;
}

/** A prediction as it comes back, with the label that clients gave it. */
export interface StoredPrediction extends LoggedPrediction {
  readonly feedback: { readonly label: string; readonly atMs: number } | null;
}

/** How an answer came about. */
export interface PredictionFacts {
  /** The address that was asked, such as /predict or /v2/models/:model/infer. */
  readonly route: string;
  /** Why the answer had no label; null where it had one. */
  readonly reason: AbstainReason | null;
  /** Null: that phase did not take place. */
  readonly latencyMs: { readonly preprocess: number | null; readonly queue: number; readonly model: number; readonly total: number };
  /** Of the picture as it was sent; null where it came as pixels, or its header does not say. */
  readonly size: { readonly width: number; readonly height: number } | null;
  /** Of the pixels that the model took. */
  readonly statistics: ImageStatistics;
  /** How far the picture is from those that the model learnt from; null where its bundle cannot say. */
  readonly outlierScore: number | null;
  /** What the model saw, as a few numbers that are stored as float16; null where its bundle has no projection. */
  readonly embedding: Float32Array | null;
}

/** Why a service answers without a label: the confidence is too low, or the picture is like none of the training. */
export type AbstainReason = "low_confidence" | "unknown_input";

/** New: stored now. Same: that label was stored for this request before. */
export type FeedbackResult = "new" | "same";

/** How long predictions are kept, with what belongs to them. */
export interface Retention {
  /** 0: without a limit of age. */
  readonly keepDays: number;
  /** What all predictions may take on the disk, roughly: beyond it the oldest are removed. */
  readonly maxBytes: number;
}

export interface LatestOf {
  readonly modelName: string;
  readonly modelVersion: string;
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly most: number;
}

/**
 * Where predictions and feedback are kept. Every method throws what the disk or the database throws, so that the caller can
 * try again later; what the caller asked for in vain is a ServalError.
 */
export interface PredictionStore {
  /** All of them or none. A row whose id is already stored changes nothing, except for newer feedback. */
  addPredictions(rows: readonly (LoggedPrediction | StoredPrediction)[]): Promise<void>;
  /**
   * Resolves to what it did when the label is on the disk. `ofKey` bounds it to predictions of that key, and to those without
   * one, which an older service or a service without keys stored. Throws E_FEEDBACK_UNKNOWN or E_LABEL_UNKNOWN.
   */
  addFeedback(requestId: string, label: string, ofKey: string | null, atMs: number): Promise<FeedbackResult>;
  /** Removes a prediction, its feedback and all that belongs to it, also from the bytes on the disk. Throws E_FEEDBACK_UNKNOWN. */
  erase(requestId: string, ofKey: string | null): Promise<void>;
  /** Time before which predictions are to be removed at `nowMs`; undefined where all may stay. */
  expiry(retention: Retention, nowMs: number): Promise<number | undefined>;
  /** Removes the oldest predictions from before `beforeMs`, at most `most` of them; resolves to how many it were. */
  removeBefore(beforeMs: number, most: number): Promise<number>;
  /** What was predicted from `sinceMs` on, with its feedback: the oldest first, some at a time. */
  read(sinceMs: number): AsyncIterable<readonly StoredPrediction[]>;
  /** The last predictions of one version of a model from `sinceMs` to `untilMs`, both included: the newest first, at most `most`. */
  latest(of: LatestOf): Promise<readonly StoredPrediction[]>;
  /** Predictions of one version of a model after that place, the oldest first, at most `most`. */
  after(of: WindowOf, place: AnswerPlace, most: number): Promise<readonly StoredPrediction[]>;
  readonly windows: WindowStore;
  /** Whether it is still good after it threw this; where not, it is to be opened again. */
  survives(error: unknown): boolean;
  close(): Promise<void>;
}

/** Route, reason, four latencies, width, height, four statistics, outlier score, embedding: the columns of the facts, in their order. */
export function factValues(facts: PredictionFacts): (string | number | Buffer | null)[] {
  const { route, reason, latencyMs, size, statistics, outlierScore, embedding } = facts;
  const latencies = [latencyMs.preprocess, latencyMs.queue, latencyMs.model, latencyMs.total];
  const { brightness, contrast, sharpness, saturation } = statistics;
  const bytes = embedding && Buffer.from(Float16Array.from(embedding).buffer);
  const seen = [size?.width ?? null, size?.height ?? null, brightness, contrast, sharpness, saturation];
  return [route, reason, ...latencies, ...seen, outlierScore, bytes];
}

/** A row of predictions with the columns of keys, facts and feedback beside it (`truth`, `truth_at_ms`), as either database gives it. */
export function storedPrediction(row: Readonly<Record<string, unknown>>): StoredPrediction {
  const text = (name: string): string => String(row[name]);
  const number = (name: string): number => Number(row[name]);
  const orNull = <T>(name: string, read: (name: string) => T): T | null => (row[name] === null ? null : read(name));
  const facts = (): PredictionFacts => ({
    route: text("route"),
    reason: orNull("reason", text) as PredictionFacts["reason"],
    latencyMs: {
      preprocess: orNull("preprocess_ms", number),
      queue: number("queue_ms"),
      model: number("model_ms"),
      total: number("total_ms"),
    },
    size: orNull("width", (name) => ({ width: number(name), height: number("height") })),
    statistics: {
      brightness: number("brightness"),
      contrast: number("contrast"),
      sharpness: number("sharpness"),
      saturation: number("saturation"),
    },
    outlierScore: orNull("outlier_score", number),
    embedding: orNull("embedding", (name) => Float32Array.from(new Float16Array(Uint8Array.from(row[name] as Uint8Array).buffer))),
  });
  return {
    requestId: text("request_id"),
    atMs: number("at_ms"),
    modelName: text("model_name"),
    modelVersion: text("model_version"),
    label: text("label"),
    confidence: number("confidence"),
    probabilities: JSON.parse(text("probabilities")) as Record<string, number>,
    keyName: orNull("key_name", text),
    facts: orNull("route", facts),
    feedback: orNull("truth", (name) => ({ label: text(name), atMs: number("truth_at_ms") })),
  };
}

/** The columns that `storedPrediction` reads. */
export const storedColumns = `
  p.request_id, p.at_ms, model_name, model_version, p.label, confidence, probabilities, key_name,
  route, reason, preprocess_ms, queue_ms, model_ms, total_ms, width, height, brightness, contrast, sharpness, saturation,
  outlier_score, embedding, f.label AS truth, f.at_ms AS truth_at_ms
  FROM predictions p LEFT JOIN prediction_keys k ON k.request_id = p.request_id
  LEFT JOIN prediction_facts d ON d.request_id = p.request_id LEFT JOIN feedback f ON f.request_id = p.request_id`;

/** The rows that bring feedback along: id, label, time. */
export function feedbackOf(rows: readonly (LoggedPrediction | StoredPrediction)[]): [requestId: string, label: string, atMs: number][] {
  return rows.flatMap((row) =>
    "feedback" in row && row.feedback !== null ? [[row.requestId, row.feedback.label, row.feedback.atMs]] : [],
  );
}

/** Whether a key may label or remove a prediction of `keyName`. */
export function mayChange(keyName: string | null, ofKey: string | null): boolean {
  return keyName === null || ofKey === null || keyName === ofKey;
}

/** A prediction of another key answers as if there were none: no client learns which ids exist. */
export function unknownPrediction(requestId: string): ServalError {
  return new ServalError("E_FEEDBACK_UNKNOWN", `No prediction with the request id ${JSON.stringify(requestId)} is stored.`);
}

/** Throws E_LABEL_UNKNOWN where the model that answered has no such label. */
export function assertLabel(label: string, labels: readonly string[]): void {
  if (labels.includes(label)) return;
  throw new ServalError("E_LABEL_UNKNOWN", `${JSON.stringify(label)} is not one of the model's labels: ${labels.join(", ")}.`);
}
