import type { SQLOutputValue } from "node:sqlite";
import type { KeyValue } from "../../key-value.ts";

/** Rows of `SELECT key, value`. */
export function keyValues(rows: readonly (readonly SQLOutputValue[])[]): KeyValue[] {
  return rows.map(([key, value]) => ({ key: String(key), value: String(value) }));
}
