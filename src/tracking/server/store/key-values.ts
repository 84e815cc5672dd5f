import type { SQLOutputValue } from "node:sqlite";

/** A param or tag as the REST API writes it. */
export interface KeyValue {
  readonly key: string;
  readonly value: string;
}

/** Rows of `SELECT key, value`. */
export function keyValues(rows: readonly (readonly SQLOutputValue[])[]): KeyValue[] {
  return rows.map(([key, value]) => ({ key: String(key), value: String(value) }));
}
