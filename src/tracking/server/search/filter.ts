import { invalid } from "../refusal.ts";
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

/** `metrics.loss < 0.5 AND params.model = 'cnn4' AND attributes.run_id IN ('a', 'b')`: clauses that must all hold. */
export function parseFilter(filter: string | undefined, spec: SearchSpec): Clause[] {
  if (filter === undefined || filter === "") return [];
  const tokens = tokenize(filter);
  const clauses: Clause[] = [];
  let at = 0;
  const next = (): Token | undefined => tokens[at++];
  const fail = (expected: string, got: Token | undefined): never => {
    throw invalid(
      `The filter ${JSON.stringify(filter)}: expected ${expected}, got ${got === undefined ? "its end" : JSON.stringify(got.text)}.`,
    );
  };
  const list = (): string[] => {
    const values: string[] = [];
    for (;;) {
      const value = next();
      if (value?.kind !== "text") return fail("a list of quoted texts", value);
      values.push(unquote(value.text));
      const separator = next();
      if (separator?.text === ")") return values;
      if (separator?.text !== ",") return fail("a comma or )", separator);
    }
  };
  for (;;) {
    const name = next();
    if (name?.kind !== "word") return fail("a name such as metrics.loss", name);
    const { type, key } = readIdentifier(name.text, spec);
    const operator = next();
    let comparator = operator?.text.toUpperCase() ?? "";
    if (comparator === "<>") comparator = "!=";
    if (comparator === "NOT" || comparator === "IS") {
      const following = next();
      comparator += ` ${following?.text.toUpperCase() ?? ""}`;
      if (comparator === "IS NOT") comparator += ` ${next()?.text.toUpperCase() ?? ""}`;
    }
    if (comparator === "IS NULL" || comparator === "IS NOT NULL") {
      if (!spec.nullable.includes(type)) throw invalid(`${name.text}: IS NULL is for ${spec.nullable.join(" and ")} only.`);
      clauses.push({ type, key, comparator, value: null });
    } else {
      const allowed = comparatorsFor(type, key, spec);
      if (!allowed.includes(comparator)) return fail(`one of ${allowed.join(", ")} after ${name.text}`, operator);
      const value = next();
      if (comparator.endsWith("IN")) {
        if (value?.text !== "(") return fail("a list in brackets", value);
        clauses.push({ type, key, comparator, value: list() });
      } else if (isNumeric(type, key, spec)) {
        if (value?.kind !== "number") return fail(`a number for ${name.text}`, value);
        clauses.push({ type, key, comparator, value: Number(value.text) });
      } else {
        if (value?.kind !== "text") return fail(`a quoted text for ${name.text}`, value);
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
  const match = /^\s*(.+?)(?:\s+(asc|desc))?\s*$/is.exec(text);
  const name = match?.[1];
  if (name === undefined || /\s(?![^`"]*[`"]$)/.test(name))
    throw invalid(`order_by ${JSON.stringify(text)}: expected a name, then ASC or DESC or nothing.`);
  const { type, key } = readIdentifier(name, { ...spec, attributes: pick(spec.attributes, spec.orderable) });
  return { type, key, ascending: match?.[2]?.toLowerCase() !== "desc" };
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
  if (type === undefined) throw invalid(`${text}: ${JSON.stringify(prefix)} is none of ${Object.keys(spec.entities).join(", ")}.`);
  const known = type === "attribute" ? Object.keys(spec.attributes) : type === "dataset" ? datasetKeys : undefined;
  if (known !== undefined && !known.includes(key)) throw invalid(`${text}: ${JSON.stringify(key)} is none of ${known.join(", ")}.`);
  return { type, key };
}

function unquote(text: string): string {
  return /^(['"`]).*\1$/s.test(text) && text.length > 1 ? text.slice(1, -1) : text;
}

function pick<Value>(values: Readonly<Record<string, Value>>, keys: readonly string[]): Record<string, Value> {
  return Object.fromEntries(Object.entries(values).filter(([key]) => keys.includes(key)));
}
