import type { StoredPrediction } from "./prediction-store.ts";
import { encodeTable, type Column, type TableFormat } from "./table-format.ts";

/** The columns of every format, in their order. */
const columns: readonly Column<StoredPrediction>[] = [
  { name: "request_id", kind: "text", of: (row) => row.requestId },
  { name: "at", kind: "time", of: (row) => new Date(row.atMs) },
  { name: "route", kind: "text", of: ({ facts }) => facts?.route ?? null },
  { name: "model_name", kind: "text", of: (row) => row.modelName },
  { name: "model_version", kind: "text", of: (row) => row.modelVersion },
  { name: "label", kind: "text", of: (row) => row.label },
  { name: "confidence", kind: "number", of: (row) => row.confidence },
  { name: "probabilities", kind: "object", of: (row) => row.probabilities },
  { name: "reason", kind: "text", of: ({ facts }) => facts?.reason ?? null },
  { name: "feedback_label", kind: "text", of: ({ feedback }) => feedback?.label ?? null },
  { name: "feedback_at", kind: "time", of: ({ feedback }) => (feedback === null ? null : new Date(feedback.atMs)) },
  { name: "key_name", kind: "text", of: (row) => row.keyName },
  { name: "preprocess_ms", kind: "number", of: ({ facts }) => facts?.latencyMs.preprocess ?? null },
  { name: "queue_ms", kind: "number", of: ({ facts }) => facts?.latencyMs.queue ?? null },
  { name: "model_ms", kind: "number", of: ({ facts }) => facts?.latencyMs.model ?? null },
  { name: "total_ms", kind: "number", of: ({ facts }) => facts?.latencyMs.total ?? null },
  { name: "width", kind: "integer", of: ({ facts }) => facts?.size?.width ?? null },
  { name: "height", kind: "integer", of: ({ facts }) => facts?.size?.height ?? null },
  { name: "brightness", kind: "number", of: ({ facts }) => facts?.statistics.brightness ?? null },
  { name: "contrast", kind: "number", of: ({ facts }) => facts?.statistics.contrast ?? null },
  { name: "sharpness", kind: "number", of: ({ facts }) => facts?.statistics.sharpness ?? null },
  { name: "saturation", kind: "number", of: ({ facts }) => facts?.statistics.saturation ?? null },
  { name: "outlier_score", kind: "number", of: ({ facts }) => facts?.outlierScore ?? null },
  { name: "embedding", kind: "object", of: ({ facts }) => (facts?.embedding ? [...facts.embedding] : null) },
];

/** Predictions as a file of that format, a piece for each batch of rows. */
export function encodePredictions(
  format: TableFormat,
  batches: AsyncIterable<readonly StoredPrediction[]>,
): AsyncIterable<string | Uint8Array> {
  return encodeTable(format, { name: "predictions", columns }, batches);
}
