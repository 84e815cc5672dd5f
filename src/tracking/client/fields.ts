import { ServalError } from "../../errors/serval-error.ts";
import { excerpt } from "../../http/printable.ts";

/**
 * An object in a server's answer. Each reader says which type is expected, so that an answer of another shape ends in
 * E_TRACKING_REFUSED with the place, wherever in a client it is read.
 */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #where: string;

  constructor(value: unknown, where: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw unexpected(where, "an object", value);
    this.#values = value as Record<string, unknown>;
    this.#where = where;
  }

  text(key: string): string {
    const value = this.#at(key);
    return typeof value === "string" ? value : this.#refuse(key, "text", value);
  }

  /** Null and a missing field are the same: servers differ in that. */
  optionalText(key: string): string | undefined {
    return this.#at(key) === undefined ? undefined : this.text(key);
  }

  /** An id or a version: servers write numbers and texts. */
  id(key: string): string {
    const value = this.#at(key);
    return typeof value === "number" && Number.isSafeInteger(value) ? String(value) : this.text(key);
  }

  /** Protobuf's JSON has large numbers, NaN and infinity as texts. */
  number(key: string, otherwise?: number): number {
    const value = this.#at(key) ?? otherwise;
    if (typeof value === "number" || (typeof value === "string" && value !== "" && value.length < 40)) return Number(value);
    return this.#refuse(key, "a number", value);
  }

  flag(key: string): boolean {
    return this.#at(key) === true;
  }

  object(key: string): Fields {
    return new Fields(this.#at(key), `${this.#where}, ${key}`);
  }

  /** Empty where the field is missing. */
  list<Item>(key: string, read: (item: Fields) => Item): Item[] {
    const value = this.#at(key) ?? [];
    if (!Array.isArray(value)) this.#refuse(key, "a list", value);
    return (value as unknown[]).map((item, i) => read(new Fields(item, `${this.#where}, ${key}[${i}]`)));
  }

  /** Pairs of `key` and `value`, as the REST API writes params and tags. */
  pairs(key: string): Record<string, string> {
    return Object.fromEntries(this.list(key, (pair) => [pair.text("key"), pair.optionalText("value") ?? ""]));
  }

  #at(key: string): unknown {
    // Not what the object inherits, such as its constructor.
    return (Object.hasOwn(this.#values, key) ? this.#values[key] : undefined) ?? undefined;
  }

  #refuse(key: string, expected: string, got: unknown): never {
    throw unexpected(`${this.#where}, ${key}`, expected, got);
  }
}

/** The JSON object in `text`. Throws E_TRACKING_REFUSED; `where` begins the message. */
export function readFields(text: string, where: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ServalError("E_TRACKING_REFUSED", `${where} with something that is not JSON: ${JSON.stringify(excerpt(text, 80))}.`, {
      cause: error,
      hint: "Is MLFLOW_TRACKING_URI the address of an MLflow server?",
    });
  }
  return new Fields(value, where);
}

function unexpected(where: string, expected: string, got: unknown): ServalError {
  const kind = got === undefined ? "nothing" : Array.isArray(got) ? "a list" : got === null ? "null" : `a value of type ${typeof got}`;
  return new ServalError("E_TRACKING_REFUSED", `${where}: expected ${expected}, got ${kind}.`, {
    hint: "Is MLFLOW_TRACKING_URI the address of an MLflow server?",
  });
}
