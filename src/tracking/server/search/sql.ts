import type { SQLInputValue } from "node:sqlite";
import type { Clause } from "./filter.ts";

/** A condition with its values in the order of its question marks. */
export interface Condition {
  readonly sql: string;
  readonly values: readonly SQLInputValue[];
}

/** `column` against the clause's value. Only `column` is pasted: it comes from our tables, never from a request. */
export function compare(column: string, { comparator, value }: Clause): Condition {
  if (Array.isArray(value)) return inList(column, value as readonly string[], comparator);
  if (comparator === "ILIKE") return { sql: `lower(${column}) LIKE lower(?)`, values: [value as string] };
  return { sql: `${column} ${comparator} ?`, values: [value as string | number] };
}

/** A short list as question marks, which SQLite plans best; a long one as one value, because SQLite takes 32,766 of them in all. */
const maxMarks = 100;

export function inList(column: string, values: readonly (string | number)[], comparator = "IN"): Condition {
  if (values.length <= maxMarks) return { sql: `${column} ${comparator} (${marks(values.length)})`, values };
  return { sql: `${column} ${comparator} (SELECT value FROM json_each(?))`, values: [JSON.stringify(values)] };
}

/** Whether a row of a key/value table, such as `tags` of a run, fits the clause. `owner` is the table's column and what it must equal. */
export function keyValueCondition(table: string, owner: string, clause: Clause): Condition {
  const head = `SELECT 1 FROM ${table} WHERE ${owner} AND ${table}.key = ?`;
  if (clause.value === null) return { sql: `${clause.comparator === "IS NULL" ? "NOT " : ""}EXISTS (${head})`, values: [clause.key] };
  const { sql, values } = compare(`${table}.value`, clause);
  return { sql: `EXISTS (${head} AND ${sql})`, values: [clause.key, ...values] };
}

export function joinConditions(conditions: readonly Condition[]): Condition {
  return { sql: conditions.map(({ sql }) => `(${sql})`).join(" AND ") || "1", values: conditions.flatMap(({ values }) => values) };
}

/** `?, ?, ?` */
export function marks(count: number): string {
  return Array.from({ length: count }, () => "?").join(", ");
}
