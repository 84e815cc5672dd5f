import { ByteWriter, ParquetWriter, type BasicType, type SchemaElement } from "hyparquet-writer";
import type { StoredPrediction } from "./prediction-store.ts";

export type ExportFormat = "jsonl" | "csv" | "parquet";

type Value = string | number | Date | object | null;

interface Column {
  readonly name: string;
  readonly kind: "text" | "number" | "integer" | "time" | "object";
  readonly of: (row: StoredPrediction) => Value;
}

/** The columns of every format, in their order. */
const columns: readonly Column[] = [
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
  format: ExportFormat,
  batches: AsyncIterable<readonly StoredPrediction[]>,
): AsyncIterable<string | Uint8Array> {
  if (format === "jsonl") return encodeJsonLines(batches);
  return format === "csv" ? encodeCsv(batches) : encodeParquet(batches);
}

async function* encodeJsonLines(batches: AsyncIterable<readonly StoredPrediction[]>): AsyncIterable<string> {
  for await (const rows of batches) {
    yield rows.map((row) => `${JSON.stringify(Object.fromEntries(columns.map(({ name, of }) => [name, of(row)])))}\n`).join("");
  }
}

/** RFC 4180, with the names of the columns first. */
async function* encodeCsv(batches: AsyncIterable<readonly StoredPrediction[]>): AsyncIterable<string> {
  yield `${columns.map(({ name }) => name).join(",")}\r\n`;
  for await (const rows of batches) {
    yield rows.map((row) => `${columns.map(({ of }) => csvField(of(row))).join(",")}\r\n`).join("");
  }
}

function csvField(value: Value): string {
  if (value === null) return "";
  const text = value instanceof Date ? value.toISOString() : typeof value === "object" ? JSON.stringify(value) : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const parquetTypes: Readonly<Record<Column["kind"], Omit<SchemaElement, "name"> & { readonly basic: BasicType }>> = {
  text: { basic: "STRING", type: "BYTE_ARRAY", converted_type: "UTF8" },
  number: { basic: "DOUBLE", type: "DOUBLE" },
  integer: { basic: "INT32", type: "INT32" },
  time: { basic: "TIMESTAMP", type: "INT64", converted_type: "TIMESTAMP_MILLIS" },
  object: { basic: "JSON", type: "BYTE_ARRAY", converted_type: "JSON" },
};

async function* encodeParquet(batches: AsyncIterable<readonly StoredPrediction[]>): AsyncIterable<Uint8Array> {
  const schema: SchemaElement[] = [
    { name: "predictions", num_children: columns.length },
    ...columns.map(({ name, kind }): SchemaElement => {
      const { basic: _, ...type } = parquetTypes[kind];
      return { name, ...type, repetition_type: "OPTIONAL" };
    }),
  ];
  const bytes = new ByteWriter();
  const writer = new ParquetWriter({ writer: bytes, schema, createdBy: "serval" });
  // What is written is taken out of the memory of the writer, which counts on.
  const taken = (): Uint8Array => {
    const piece = bytes.getBytes().slice();
    bytes.index = 0;
    return piece;
  };
  for await (const rows of batches) {
    await writer.write({ columnData: columns.map(({ name, kind, of }) => ({ name, data: rows.map(of), type: parquetTypes[kind].basic })) });
    yield taken();
  }
  await writer.finish();
  yield taken();
}
