import { isAlias, isMap, isScalar, isSeq, type Node, type Pair, type YAMLMap } from "yaml";
import { readYaml, type CheckedYaml } from "../../config/yaml.ts";
import { ServalError, type ErrorCode } from "../../errors/serval-error.ts";

/** A number that YAML writes as a float. JavaScript forgets that 1.0 is one; Python, and so the bytes of dvc.lock, do not. */
export class YamlFloat {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export type YamlValue = null | boolean | number | bigint | string | YamlFloat | readonly YamlValue[] | YamlMap;
/** A mapping, in the order of the file; its keys are strings, as DVC demands. */
export type YamlMap = ReadonlyMap<string, YamlValue>;

export interface ParsedYaml {
  readonly value: YamlValue;
  /** The line of the key or item at a path, from 1. */
  line(path: readonly (string | number)[]): number;
}

/** Parses one YAML 1.2 document. Throws `code`, with the file and the line, for anything that is not one, and beyond the limits of `readYaml`. */
export function parseYaml(text: string, file: string, code: ErrorCode): ParsedYaml {
  const yaml = readYaml(text, file, code, { intAsBigInt: true });
  const { document, lines, targets } = yaml;
  const pairs = new Map<unknown, ReadonlyMap<string, Pair>>();
  const pairsOf = (map: YAMLMap): ReadonlyMap<string, Pair> => {
    const found = pairs.get(map) ?? new Map(map.items.map((pair) => [String(isScalar(pair.key) ? pair.key.value : pair.key), pair]));
    pairs.set(map, found);
    return found;
  };
  return {
    value: document.contents === null ? null : new ValueReader(yaml, file, code).read(document.contents),
    line: (path) => {
      let node: unknown = document.contents;
      let offset = 0;
      for (const part of path) {
        if (isAlias(node)) node = targets.get(node);
        if (isMap(node)) {
          const pair = pairsOf(node).get(String(part));
          offset = (pair?.key as Node | undefined)?.range?.[0] ?? offset;
          node = pair?.value;
        } else if (isSeq(node)) {
          node = node.items[Number(part)];
          offset = (node as Node | undefined)?.range?.[0] ?? offset;
        }
      }
      return lines.linePos(offset).line;
    },
  };
}

class ValueReader {
  readonly #yaml: CheckedYaml;
  readonly #file: string;
  readonly #code: ErrorCode;
  /** What aliases stand for is read once, and shared. */
  readonly #anchored = new Map<Node, YamlValue>();

  constructor(yaml: CheckedYaml, file: string, code: ErrorCode) {
    this.#yaml = yaml;
    this.#file = file;
    this.#code = code;
  }

  read(node: unknown): YamlValue {
    if (isAlias(node)) {
      const target = this.#yaml.targets.get(node);
      return (target && this.#anchored.get(target)) ?? null;
    }
    const value = this.#readOwn(node);
    if ((isMap(node) || isSeq(node) || isScalar(node)) && node.anchor !== undefined) this.#anchored.set(node, value);
    return value;
  }

  #readOwn(node: unknown): YamlValue {
    if (isSeq(node)) return node.items.map((item) => this.read(item));
    if (isMap(node)) {
      const own = new Map<string, YamlValue>();
      const merged: YamlMap[] = [];
      for (const { key, value } of node.items) {
        // `<<: *base`, and of several the first that has a key (yaml.org/type/merge.html): DVC's parser reads it so.
        if (isScalar(key) && key.value === "<<" && key.type === "PLAIN") merged.push(...[this.read(value)].flat().filter(isYamlMap));
        else own.set(String(isScalar(key) ? key.value : key), this.read(value));
      }
      return new Map([...merged.toReversed(), own].flatMap((map) => [...map]));
    }
    if (!isScalar(node)) return null;
    const { source = "" } = node;
    const value = (node.type === "PLAIN" && typeof node.value === "string" ? parsePythonNumber(node.value) : undefined) ?? node.value;
    if (value instanceof YamlFloat) return value;
    if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
    if (typeof value === "number") return new YamlFloat(value);
    if (value === null || typeof value === "boolean" || typeof value === "string") return value;
    const { line } = this.#yaml.lines.linePos(node.range?.[0] ?? 0);
    throw new ServalError(this.#code, `${this.#file}:${line}: expected a string, number, boolean or null, got ${JSON.stringify(source)}.`);
  }
}

/** A number as DVC's parser reads it and YAML's core schema does not: with `_` between its digits, or binary. */
function parsePythonNumber(text: string): bigint | YamlFloat | undefined {
  const [, sign, digits = ""] = /^([-+]?)(0b[01_]+|0o?[0-7_]+|0x[\da-f_]+|\d[\d_]*)$/i.exec(text) ?? [];
  const plain = digits.replaceAll("_", "");
  if (/^(0[box])?[\da-f]+$/i.test(plain)) return BigInt(plain) * (sign === "-" ? -1n : 1n);
  const isFloat = /^[-+]?(\d[\d_]*(\.[\d_]*)?(e[-+]?\d+)?|\.\d[\d_]*(e[-+]?\d+)?)$/i.test(text);
  return isFloat ? new YamlFloat(Number(text.replaceAll("_", ""))) : undefined;
}

/** Gives the text of a file relative to the repository; undefined where there is none. */
export type ReadText = (path: string) => string | undefined;

/** Whether two values are equal as Python compares them: 1 and 1.0 are, and the order of keys does not count. */
export function sameValue(a: YamlValue | undefined, b: YamlValue | undefined): boolean {
  if (a instanceof YamlFloat) return sameValue(a.value, b instanceof YamlFloat ? b.value : b);
  if (b instanceof YamlFloat) return sameValue(a, b.value);
  if (isList(a) && isList(b)) return a.length === b.length && a.every((item, i) => sameValue(item, b[i]));
  if (a instanceof Map && b instanceof Map) {
    return a.size === b.size && [...(a as YamlMap)].every(([key, value]) => b.has(key) && sameValue(value, (b as YamlMap).get(key)));
  }
  return a === b || (typeof a === "number" && typeof b === "number" && Number.isNaN(a) && Number.isNaN(b));
}

export function isList(value: unknown): value is readonly YamlValue[] {
  return Array.isArray(value);
}

export function isYamlMap(value: unknown): value is YamlMap {
  return value instanceof Map;
}

/** For --json and charts. */
export function toPlain(value: YamlValue): unknown {
  if (value instanceof YamlFloat) return value.value;
  if (typeof value === "bigint") return Number(value);
  if (isList(value)) return value.map(toPlain);
  if (isYamlMap(value)) return Object.fromEntries([...value].map(([key, item]) => [key, toPlain(item)]));
  return value;
}

/** A float as Python's `repr` writes it: the shortest digits that give it back, `1.0`, `1e-05`, `1e+16`. */
export function pythonFloat(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const [mantissa = "0", power = "0"] = value.toExponential().split("e");
  const exponent = Number(power);
  const sign = Object.is(value, -0) ? "-" : "";
  if (value !== 0 && (exponent < -4 || exponent >= 16)) {
    return `${mantissa}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  const negative = mantissa.startsWith("-") ? "-" : "";
  const digits = mantissa.replace("-", "").replace(".", "");
  if (exponent < 0) return `${negative}0.${"0".repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0");
  return `${sign}${negative}${whole}.${digits.slice(exponent + 1) || "0"}`;
}
