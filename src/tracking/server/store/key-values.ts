import type { Row } from "./database.ts";

/** A param or tag as the REST API writes it. */
export interface KeyValue {
  readonly key: string;
  readonly value: string;
}

/** Rows of `SELECT key, value`, which are what they should be already. */
export function keyValues(rows: readonly Row[]): KeyValue[] {
  return rows as readonly object[] as KeyValue[];
}
