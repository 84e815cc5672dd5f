import { clip, invalid, quote } from "../refusal.ts";
import { tokenize, type Token } from "./tokens.ts";

export type EntityType = "attribute" | "metric" | "param" | "tag" | "dataset";

/** What the filters and orders of one kind of thing may name. */
export interface SearchSpec {
  /** `metrics` -> metric, and so on. */
  readonly entities: Readonly<Record<string, EntityType>>;
  /** Attribute -> column. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly numeric: readonly string[];
  /** Attributes that take IN and NOT IN. */
  readonly listed: readonly string[];
  readonly orderable: readonly string[];
  /** Where IS NULL makes sense. */
  readonly nullable: readonly EntityType[];
}

export interface Clause {
  readonly type: EntityType;
  readonly key: string;
  readonly comparator: string;
  readonly value: string | number | readonly string[] | null;
}

export interface Order {
  readonly type: EntityType;
  readonly key: string;
  readonly ascending: boolean;
}

const numberComparators = ["=", "!=", ">", ">=", "<", "<="];
const textComparators = ["=", "!=", "LIKE", "ILIKE"];
const datasetKeys = ["name", "digest", "context"];

/** MLflow has no limits here: on SQLite its searches fail from 64 clauses on tags, params and metrics on. */
const maxClauses = 100;
/** Values in all lists of a filter: enough for the ids of 10,000 runs. */
const maxValues = 10_000;

/** `metrics.loss < 0.5 AND params.model = 'cnn4' AND attributes.run_id IN ('a', 'b')`: clauses that must all hold. */
export function parseFilter(filter: string | undefined, spec: SearchSpec): Clause[] {
  if (filter === undefined || filter === "") return [];
  const tokens = tokenize(filter);
  const clauses: Clause[] = [];
  let at = 0;
  const next = (): Token | undefined => tokens[at++];
  const fail = (expected: string, got: Token | undefined): never => {
    throw invalid(`The filter ${quote(filter)}: expected ${expected}, got ${got === undefined ? "its end" : quote(got.text)}.`);
  };
  let valuesLeft = maxValues;
  const list = (): string[] => {
    const values: string[] = [];
    for (;;) {
      const value = next();
      if (value?.kind !== "text") return fail("a list of quoted texts", value);
      if (valuesLeft-- === 0) throw invalid(`A filter may have at most ${maxValues} values in lists. Send several requests.`);
      values.push(unquote(value.text));
      const separator = next();
      if (separator?.text === ")") return values;
      if (separator?.text !== ",") return fail("a comma or )", separator);
    }
  };
  for (;;) {
    if (clauses.length === maxClauses) throw invalid(`A filter may have at most ${maxClauses} clauses. Send several requests.`);
    const name = next();
    if (name?.kind !== "word") return fail("a name such as metrics.loss", name);
    const { type, key } = readIdentifier(name.text, spec);
    const operator = next();
    let comparator = operator?.text.toUpperCase() ?? "";
    if (comparator === "NOT" || comparator === "IS") {
      const following = next();
      comparator += ` ${following?.text.toUpperCase() ?? ""}`;
      if (comparator === "IS NOT") comparator += ` ${next()?.text.toUpperCase() ?? ""}`;
    }
    if (comparator === "IS NULL" || comparator === "IS NOT NULL") {
      if (!spec.nullable.includes(type)) throw invalid(`${clip(name.text)}: IS NULL is for ${spec.nullable.join(" and ")} only.`);
      clauses.push({ type, key, comparator, value: null });
    } else {
      const allowed = comparatorsFor(type, key, spec);
      if (!allowed.includes(comparator)) return fail(`one of ${allowed.join(", ")} after ${clip(name.text)}`, operator);
      const value = next();
      if (comparator.endsWith("IN")) {
        if (value?.text !== "(") return fail("a list in brackets", value);
        clauses.push({ type, key, comparator, value: list() });
      } else if (isNumeric(type, key, spec)) {
        if (value?.kind !== "number") return fail(`a number for ${clip(name.text)}`, value);
        clauses.push({ type, key, comparator, value: Number(value.text) });
      } else {
        if (value?.kind !== "text") return fail(`a quoted text for ${clip(name.text)}`, value);
        clauses.push({ type, key, comparator, value: unquote(value.text) });
      }
    }
    const and = next();
    if (and === undefined) return clauses;
    if (and.text.toUpperCase() !== "AND") return fail("AND", and);
    // MLflow lets a filter end with AND, and programs that join clauses came to rely on it.
    if (at === tokens.length) return clauses;
  }
}

/** `metrics.loss DESC`; ascending when it does not say. */
export function parseOrder(text: string, spec: SearchSpec): Order {
  const trimmed = text.trim();
  const direction = /\s(asc|desc)$/i.exec(trimmed);
  const name = trimmed.slice(0, direction?.index).trimEnd();
  // Only a quoted part at the end may hold spaces.
  if (name === "" || /\s/.test(name.replace(/[`"][^`"]*[`"]$/, "")))
    throw invalid(`order_by ${quote(text)}: expected a name, then ASC or DESC or nothing.`);
  const { type, key } = readIdentifier(name, { ...spec, attributes: pick(spec.attributes, spec.orderable) });
  return { type, key, ascending: direction?.[1]?.toLowerCase() !== "desc" };
}

function comparatorsFor(type: EntityType, key: string, spec: SearchSpec): readonly string[] {
  if (isNumeric(type, key, spec)) return numberComparators;
  return type === "dataset" || (type === "attribute" && spec.listed.includes(key)) ? [...textComparators, "IN", "NOT IN"] : textComparators;
}

function isNumeric(type: EntityType, key: string, spec: SearchSpec): boolean {
  return type === "metric" || (type === "attribute" && spec.numeric.includes(key));
}

function readIdentifier(text: string, spec: SearchSpec): { type: EntityType; key: string } {
  const dot = text.startsWith("`") || text.startsWith('"') ? -1 : text.indexOf(".");
  const prefix = dot < 0 ? "attribute" : text.slice(0, dot);
  const key = unquote(text.slice(dot + 1));
  const type = Object.hasOwn(spec.entities, prefix) ? spec.entities[prefix] : undefined;
  if (type === undefined) throw invalid(`${clip(text)}: ${quote(prefix)} is not one of ${Object.keys(spec.entities).join(", ")}.`);
  const known = type === "attribute" ? Object.keys(spec.attributes) : type === "dataset" ? datasetKeys : undefined;
  if (known !== undefined && !known.includes(key)) throw invalid(`${clip(text)}: ${quote(key)} is not one of ${known.join(", ")}.`);
  return { type, key };
}

function unquote(text: string): string {
  return /^(['"`]).*\1$/s.test(text) && text.length > 1 ? text.slice(1, -1) : text;
}

function pick<Value>(values: Readonly<Record<string, Value>>, keys: readonly string[]): Record<string, Value> {
  return Object.fromEntries(Object.entries(values).filter(([key]) => keys.includes(key)));
}
