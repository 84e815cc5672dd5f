import { isList, isYamlMap, pythonFloat, YamlFloat, type YamlMap, type YamlValue } from "./yaml-values.ts";

interface Expression {
  readonly start: number;
  readonly end: number;
  /** What stands between the braces. */
  readonly inner: string;
}

/** What is wrong with a `${}`; the parser adds file and line. */
export class InterpolationProblem {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export function hasExpression(text: string): boolean {
  return findExpressions(text).length > 0;
}

/** Each `${…}` within one line that has no backslash before it, in time proportional to the text, closed or not. */
function findExpressions(text: string): Expression[] {
  const found: Expression[] = [];
  let [close, lineEnd] = [-1, -1];
  const next = (character: string, known: number, from: number): number => {
    if (known >= from) return known;
    const at = text.indexOf(character, from);
    return at < 0 ? Infinity : at;
  };
  for (let start = text.indexOf("${"); start >= 0; start = text.indexOf("${", start)) {
    const from = start + 2;
    close = next("}", close, from);
    lineEnd = next("\n", lineEnd, from);
    if (text[start - 1] === "\\" || close > lineEnd || close === Infinity) {
      start = from;
      continue;
    }
    found.push({ start, end: close + 1, inner: text.slice(from, close) });
    start = close + 1;
  }
  return found;
}

/** How many values and characters the variables of one file may still make: `${}` in many stages multiplies what it stands for. */
export interface FillBudget {
  left: number;
}

export const fillLimit = 50_000_000;

/** Fills `${a.b[0]}` in; a string that is nothing but one expression takes the value's own type, as in DVC. */
export function interpolate(
  value: YamlValue,
  variables: YamlMap,
  isCommand: boolean,
  budget: FillBudget = { left: fillLimit },
): YamlValue | InterpolationProblem {
  if (--budget.left < 0) return overBudget();
  if (isList(value)) {
    const items: YamlValue[] = [];
    for (const item of value) {
      const filled = interpolate(item, variables, isCommand, budget);
      if (filled instanceof InterpolationProblem) return filled;
      items.push(filled);
    }
    return items;
  }
  if (isYamlMap(value)) {
    const map = new Map<string, YamlValue>();
    for (const [key, item] of value) {
      const name = interpolate(key, variables, false, budget);
      const filled = interpolate(item, variables, isCommand, budget);
      if (name instanceof InterpolationProblem) return name;
      if (filled instanceof InterpolationProblem) return filled;
      map.set(toText(name, false) ?? key, filled);
    }
    return map;
  }
  if (typeof value !== "string") return value;
  const expressions = findExpressions(value);
  const [only] = expressions;
  if (only?.start === 0 && only.end === value.length && !isCommand) {
    const selected = select(only.inner, variables);
    if (!(selected instanceof InterpolationProblem)) charge(selected, budget);
    return budget.left < 0 ? overBudget() : selected;
  }
  let out = "";
  let index = 0;
  for (const { start, end, inner } of expressions) {
    const selected = select(inner, variables);
    if (selected instanceof InterpolationProblem) return selected;
    const text = toText(selected, isCommand);
    if (text === undefined) return new InterpolationProblem(`\${${inner}} is a list or mapping, which cannot be part of a string`);
    budget.left -= text.length;
    if (budget.left < 0) return overBudget();
    out += value.slice(index, start) + text;
    index = end;
  }
  return (out + value.slice(index)).replaceAll("\\${", "${");
}

function overBudget(): InterpolationProblem {
  return new InterpolationProblem(`the \${} of this file make more than ${fillLimit} values and characters`);
}

/** Takes from the budget what the value holds, and no longer than there is something left. */
function charge(value: YamlValue, budget: FillBudget): void {
  budget.left -= typeof value === "string" ? value.length : 1;
  if (!isList(value) && !isYamlMap(value)) return;
  for (const item of value.values()) {
    if (budget.left < 0) return;
    charge(item, budget);
  }
}

function select(inner: string, variables: YamlMap): YamlValue | InterpolationProblem {
  const path = inner.trim().replaceAll("[", ".").replaceAll("]", "").split(".");
  let at: YamlValue | undefined = variables;
  for (const part of path) {
    if (isYamlMap(at)) at = at.get(part);
    else if (isList(at) && /^\d+$/.test(part)) at = at[Number(part)];
    else at = undefined;
    if (at === undefined) return new InterpolationProblem(`\${${inner}}: no file of \`vars\` and no params.yaml has "${path.join(".")}"`);
  }
  return at;
}

/** A value inside a text, as Python writes it; undefined for a list, and for a mapping that is not in a command. */
export function toText(value: YamlValue, isCommand: boolean): string | undefined {
  if (value === null) return "None";
  if (value instanceof YamlFloat) return pythonFloat(value.value);
  if (isYamlMap(value)) return isCommand ? toArguments(value) : undefined;
  return isList(value) ? undefined : String(value);
}

/** A mapping in `cmd`: `--key value` for each, as DVC's default `parsing` configuration has it. */
function toArguments(map: YamlMap, prefix = ""): string | undefined {
  const parts: string[] = [];
  for (const [key, value] of map) {
    const name = `${prefix}${key}`;
    if (isYamlMap(value)) {
      const inner = toArguments(value, `${name}.`);
      if (inner === undefined) return undefined;
      if (inner !== "") parts.push(inner);
    } else if (isList(value)) {
      const items = value.map((item) => (typeof item === "string" ? quote(item) : toText(item, false)));
      if (items.includes(undefined)) return undefined;
      if (items.length > 0) parts.push(`--${name} ${items.join(" ")}`);
    } else if (typeof value === "boolean") {
      if (value) parts.push(`--${name}`);
    } else parts.push(`--${name} ${typeof value === "string" ? quote(value) : (toText(value, false) ?? "")}`);
  }
  return parts.join(" ");
}

function quote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
}
