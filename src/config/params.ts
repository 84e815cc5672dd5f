import { createHash } from "node:crypto";
import { join } from "node:path";
import type { TSchema } from "typebox";
import { Check } from "typebox/value";
import { isMap, isScalar } from "yaml";
import { ServalError } from "../errors/serval-error.ts";
import { readTextFile } from "../files.ts";
import { paramsFile } from "../paths.ts";
import { describeExpected, describeGot, nearestKey, type SchemaNode } from "./describe-schema.ts";
import { defaultParams, paramsSchema, type Params } from "./params-schema.ts";
import { maxYamlBytes, parsePlainYaml, readYaml, type CheckedYaml } from "./yaml.ts";

export type { Params } from "./params-schema.ts";

interface Problem {
  readonly path: string;
  readonly text: string;
}

/**
 * Reads params.yaml in `cwd`, puts `sets` (`train.epochs=3`) over it and the defaults under it. Without a file the
 * defaults alone count. The result is frozen through and through. Throws E_PARAMS, which names every path that is
 * wrong, what was expected and what was got.
 */
export async function loadParams(cwd: string, sets: readonly string[] = []): Promise<Params> {
  let text = "";
  try {
    text = readTextFile(join(cwd, paramsFile), maxYamlBytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  return parseParams(text, sets);
}

/** Like `loadParams`, from the text of a params.yaml. */
export function parseParams(text: string, sets: readonly string[] = []): Params {
  const yaml = readYaml(text, paramsFile, "E_PARAMS");
  const settings = new Map(sets.map(parseSet));
  const given = toPlain(yaml.document.toJS({ maxAliasCount: -1 }) as unknown);
  if (!isSection(given))
    throw new ServalError("E_PARAMS", `${paramsFile}: expected ${describeExpected(paramsSchema)}, got ${describeGot(given)}.`);
  let named: unknown = given;
  for (const [path, text] of settings) named = setIn(named, path.split("."), parseValue(path, text));
  const value = merge(defaultParams(fineTunes(named)), named);

  const problems = findProblems(value).map((problem) => ({
    ...problem,
    line: settings.has(problem.path) ? Infinity : lineOf(yaml, problem.path),
  }));
  if (problems.length > 0) {
    const list = problems
      .sort((a, b) => a.line - b.line)
      .map(({ path, line, text }) => `${line === Infinity ? "--set" : line > 0 ? `${paramsFile}:${line}` : paramsFile}: ${path}: ${text}`);
    throw new ServalError("E_PARAMS", list.join("\n  "), { details: { paths: problems.map(({ path }) => path) } });
  }
  return deepFreeze(value as Params);
}

/** SHA-256 (hex) of the parameters as JSON with sorted keys: equal parameters have equal hashes, however they were written. */
export function paramsHash(params: Params): string {
  return createHash("sha256").update(canonicalJson(params)).digest("hex");
}

/** The dotted path of every parameter, in the order of the schema. */
export function paramPaths(node: SchemaNode = paramsSchema, prefix = ""): string[] {
  return Object.entries(node.properties ?? {}).flatMap(([key, child]) =>
    child.properties ? paramPaths(child, `${prefix}${key}.`) : [`${prefix}${key}`],
  );
}

/** Whether these parameters let all layers of a backbone learn, or may do so. */
function fineTunes(named: unknown): boolean {
  const { train } = isSection(named) ? named : {};
  const { backbone = "none", strategy } = isSection(train) ? train : {};
  return backbone !== "none" && (strategy === "finetune" || strategy === "auto");
}

function parseSet(text: string): [path: string, value: string] {
  const at = text.indexOf("=");
  if (at < 1) throw new ServalError("E_PARAMS", `--set: expected KEY=VALUE such as train.epochs=3, got ${describeGot(text)}.`);
  return [text.slice(0, at).trim(), text.slice(at + 1).trim()];
}

/** Text for a parameter that is text (`data.source=007` is a folder, not a number), else what YAML makes of it. */
function parseValue(path: string, text: string): unknown {
  if (nodeAt(path)?.type === "string" && !/^["']/.test(text)) return text;
  try {
    return parsePlainYaml(text, `--set ${path}`, "E_PARAMS");
  } catch {
    return text;
  }
}

function nodeAt(path: string): SchemaNode | undefined {
  let node: SchemaNode | undefined = paramsSchema;
  for (const key of path.split(".")) node = node?.properties && Object.hasOwn(node.properties, key) ? node.properties[key] : undefined;
  return node;
}

function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An empty file, or a section whose keys are all commented out, is YAML's null: nothing was said, so the defaults stay. */
function toPlain(value: unknown): unknown {
  return value ?? {};
}

function merge(defaults: unknown, given: unknown): unknown {
  if (!isSection(defaults)) return given;
  const values = toPlain(given);
  if (!isSection(values)) return values;
  // Object.fromEntries defines own properties, so a key named __proto__ is an unknown key and nothing worse.
  return Object.fromEntries([
    ...Object.entries(defaults).map(([key, value]) => [key, Object.hasOwn(values, key) ? merge(value, values[key]) : value]),
    ...Object.entries(values).filter(([key]) => !Object.hasOwn(defaults, key)),
  ]);
}

function setIn(target: unknown, path: readonly string[], value: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  const section = isSection(target) ? target : {};
  const entries = Object.entries(section).filter(([name]) => name !== key);
  return Object.fromEntries([...entries, [key, setIn(Object.hasOwn(section, key) ? section[key] : undefined, rest, value)]]);
}

function findProblems(value: unknown): Problem[] {
  const problems: Problem[] = [];
  const visit = (node: SchemaNode & TSchema, value: unknown, path: string): void => {
    if (!node.properties || !isSection(value)) {
      if (!Check(node, value)) problems.push({ path, text: `expected ${describeExpected(node)}, got ${describeGot(value)}.` });
      return;
    }
    for (const [key, child] of Object.entries(value)) {
      const childPath = path === "" ? key : `${path}.${key}`;
      const childNode = Object.hasOwn(node.properties, key) ? node.properties[key] : undefined;
      if (childNode) visit(childNode, child, childPath);
      else
        problems.push({
          path: childPath.length > 100 ? `${childPath.slice(0, 100)}…` : childPath,
          text: `there is no such parameter.${suggest(childPath)}`,
        });
    }
  };
  visit(paramsSchema, value, "");
  return problems.length > 0 ? problems : findConflicts(value as Params);
}

function suggest(path: string): string {
  const near = nearestKey(path, [...paramPaths(), ...Object.keys(paramsSchema.properties ?? {})]);
  return near === undefined ? "" : ` Did you mean ${near}?`;
}

/** Values that are each possible, but not together. */
function findConflicts({ prepare, train }: Params): Problem[] {
  const problems: Problem[] = [];
  const { split } = prepare;
  const sum = split.train + split.val + split.test;
  if (Math.abs(sum - 1) > 1e-9) {
    problems.push({ path: "prepare.split", text: `expected train, val and test to add up to 1, got ${Number(sum.toFixed(6))}.` });
  }
  if (split.train === 0) problems.push({ path: "prepare.split.train", text: "expected a share above 0, got 0." });
  const shorter = prepare.width <= prepare.height ? "width" : "height";
  if (train.cropSize > prepare[shorter]) {
    problems.push({ path: "train.cropSize", text: `expected at most prepare.${shorter} (${prepare[shorter]}), got ${train.cropSize}.` });
  }
  const hasBackbone = (train.backbone ?? "none") !== "none";
  if (hasBackbone && train.init !== "") {
    problems.push({ path: "train.init", text: "expected nothing beside train.backbone: a training begins with one of them." });
  }
  const { strategy = hasBackbone ? "head" : "scratch" } = train;
  if (!hasBackbone && strategy !== "scratch") {
    problems.push({ path: "train.strategy", text: `${strategy} needs a train.backbone, such as efficientnet-lite0.` });
  }
  if (hasBackbone && strategy === "scratch") {
    problems.push({
      path: "train.strategy",
      text: "expected auto, head or finetune beside train.backbone, got scratch; `train.backbone: none` trains from scratch.",
    });
  }
  if (strategy === "head" && train.select !== undefined) {
    problems.push({
      path: "train.select",
      text: "expected nothing where only a classifier on a backbone is fitted: it has one optimum, so there are no epochs to choose from.",
    });
  }
  if (train.layerDecay !== undefined && strategy !== "finetune" && strategy !== "auto") {
    problems.push({
      path: "train.layerDecay",
      text: `expected nothing with ${strategy}: only finetune gives layers different learning rates.`,
    });
  }
  if (train.warmupEpochs > train.epochs) {
    problems.push({ path: "train.warmupEpochs", text: `expected at most train.epochs (${train.epochs}), got ${train.warmupEpochs}.` });
  }
  return problems;
}

/** The line where the path, or the nearest section around it, is in the file; 0 where the file has no part of it. */
function lineOf({ document, lines }: CheckedYaml, path: string): number {
  let node: unknown = document.contents;
  let offset: number | undefined;
  for (const key of path.split(".")) {
    const pair = isMap(node) ? node.items.find((item) => isScalar(item.key) && String(item.key.value) === key) : undefined;
    if (!pair) break;
    offset = isScalar(pair.key) ? pair.key.range?.[0] : offset;
    node = pair.value;
  }
  return offset === undefined ? 0 : lines.linePos(offset).line;
}

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (!isSection(value)) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, child]) => `${JSON.stringify(key)}:${canonicalJson(child)}`).join(",")}}`;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    for (const child of Object.values(value)) deepFreeze(child);
    Object.freeze(value);
  }
  return value;
}
