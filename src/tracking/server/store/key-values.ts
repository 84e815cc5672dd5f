import type { Row } from "./database.ts";

/** A param or tag as the REST API writes it. */
export interface KeyValue {
  readonly key: string;
  readonly value: string;
}

export function keyValues(rows: readonly Row[]): KeyValue[] {
  return rows.map((row) => ({ key: String(row["key"]), value: String(row["value"]) }));
}
