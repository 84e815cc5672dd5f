import { ByteWriter, ParquetWriter, type BasicType, type SchemaElement } from "hyparquet-writer";

export const tableFormats = ["jsonl", "csv", "parquet"] as const;
export type TableFormat = (typeof tableFormats)[number];

type Value = string | number | Date | object | null;

export interface Column<Row> {
  readonly name: string;
  readonly kind: "text" | "number" | "integer" | "time" | "object";
  readonly of: (row: Row) => Value;
}

export interface Table<Row> {
  /** What a row is, in the schema of Parquet. */
  readonly name: string;
  /** In the order in which they are written. */
  readonly columns: readonly Column<Row>[];
}

/** Rows as a file of that format, a piece for each batch of them. Each batch is a row group of Parquet. */
export function encodeTable<Row>(
  format: TableFormat,
  table: Table<Row>,
  batches: AsyncIterable<readonly Row[]>,
): AsyncIterable<string | Uint8Array> {
  if (format === "jsonl") return encodeJsonLines(table, batches);
  return format === "csv" ? encodeCsv(table, batches) : encodeParquet(table, batches);
}

async function* encodeJsonLines<Row>({ columns }: Table<Row>, batches: AsyncIterable<readonly Row[]>): AsyncIterable<string> {
  for await (const rows of batches) {
    yield rows.map((row) => `${JSON.stringify(Object.fromEntries(columns.map(({ name, of }) => [name, of(row)])))}\n`).join("");
  }
}

/** RFC 4180, with the names of the columns first. */
async function* encodeCsv<Row>({ columns }: Table<Row>, batches: AsyncIterable<readonly Row[]>): AsyncIterable<string> {
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

const parquetTypes: Readonly<Record<Column<unknown>["kind"], Omit<SchemaElement, "name"> & { readonly basic: BasicType }>> = {
  text: { basic: "STRING", type: "BYTE_ARRAY", converted_type: "UTF8" },
  number: { basic: "DOUBLE", type: "DOUBLE" },
  integer: { basic: "INT32", type: "INT32" },
  time: { basic: "TIMESTAMP", type: "INT64", converted_type: "TIMESTAMP_MILLIS" },
  object: { basic: "JSON", type: "BYTE_ARRAY", converted_type: "JSON" },
};

async function* encodeParquet<Row>(table: Table<Row>, batches: AsyncIterable<readonly Row[]>): AsyncIterable<Uint8Array> {
  const { columns } = table;
  const schema: SchemaElement[] = [
    { name: table.name, num_children: columns.length },
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
    const columnData = columns.map(({ name, kind, of }) => ({ name, data: rows.map(of), type: parquetTypes[kind].basic }));
    await writer.write({ columnData, rowGroupSize: rows.length });
    yield taken();
  }
  await writer.finish();
  yield taken();
}
