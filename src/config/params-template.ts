import { stringify } from "yaml";
import type { SchemaNode } from "./describe-schema.ts";
import { paramsSchema } from "./params-schema.ts";

const commentWidth = 100;

/**
 * The text of a params.yaml that states every parameter with what it means. `values` (dotted path -> value) replaces
 * defaults. Parameters without a default are left out unless `values` has them, and so are those that `keep` refuses.
 */
export function renderParams(values: Readonly<Record<string, unknown>> = {}, keep: (path: string) => boolean = () => true): string {
  return renderSection(paramsSchema, values, keep, "", 0).trimStart();
}

function renderSection(
  node: SchemaNode,
  values: Readonly<Record<string, unknown>>,
  keep: (path: string) => boolean,
  prefix: string,
  depth: number,
): string {
  const indent = "  ".repeat(depth);
  let text = "";
  for (const [key, child] of Object.entries(node.properties ?? {})) {
    const path = `${prefix}${key}`;
    const value = values[path] ?? child.default;
    if (!child.properties && (value === undefined || !keep(path))) continue;
    if (depth === 0) text += "\n";
    text += wrap(child.description ?? "", commentWidth - indent.length)
      .map((line) => `${indent}# ${line}\n`)
      .join("");
    if (child.properties) {
      text += `${indent}${key}:\n${renderSection(child, values, keep, `${path}.`, depth + 1)}`;
    } else {
      text += `${indent}${key}: ${stringify(value, { collectionStyle: "flow", flowCollectionPadding: false }).trim()}\n`;
    }
  }
  return text;
}

function wrap(text: string, width: number): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1) ?? "";
    if (line === "") lines[lines.length - 1] = word;
    else if (line.length + word.length < width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}
