import { isList, isYamlMap, pythonFloat, YamlFloat, type YamlMap, type YamlValue } from "./yaml-values.ts";

/**
 * YAML byte for byte as DVC writes it: the block style of ruamel.yaml (emitter.py of 0.18), lists not indented inside
 * mappings, lines folded after column 80. No JavaScript library folds and quotes in the same places.
 */
export function renderYaml(value: YamlMap): string {
  const writer = new Writer();
  writeMap(writer, value, 0);
  return `${writer.text}\n`;
}

const bestWidth = 80;
const maxSimpleKeyLength = 128;
const breaks = "\n\x85\u2028\u2029";
const blanks = `\0 \t\r${breaks}`;

class Writer {
  text = "";
  column = 0;
  write(data: string): void {
    this.text += data;
    const at = data.lastIndexOf("\n");
    this.column = at < 0 ? this.column + codePoints(data) : codePoints(data.slice(at + 1));
  }
  newLine(indent: number): void {
    if (this.text !== "") this.write("\n");
    this.write(" ".repeat(indent));
  }
}

/** Python counts these, JavaScript counts UTF-16 units. */
function codePoints(text: string): number {
  return Array.from(text).length;
}

function writeMap(writer: Writer, map: YamlMap, indent: number, inList = false): void {
  let first = inList;
  for (const [key, value] of map) {
    if (!first) writer.newLine(indent);
    first = false;
    const simple = codePoints(key) < maxSimpleKeyLength && !/[\n\x85\u2028\u2029]/.test(key);
    if (simple) {
      writeString(writer, key, indent, true);
      writer.write(":");
    } else {
      writer.write("? ");
      writeString(writer, key, indent + 2, false);
      writer.newLine(indent);
      writer.write(":");
    }
    if (isYamlMap(value) && value.size > 0) {
      if (simple) writeMap(writer, value, indent + 2);
      else {
        writer.write(" ");
        writeMap(writer, value, indent + 2, true);
      }
    } else if (isList(value) && value.length > 0) {
      if (simple) writeList(writer, value, indent);
      else {
        writer.write(" ");
        writeList(writer, value, indent + 2, true);
      }
    } else if (value !== null) writeLeaf(writer, value, indent + 2);
  }
}

function writeList(writer: Writer, list: readonly YamlValue[], indent: number, inList = false): void {
  let first = inList;
  for (const value of list) {
    if (!first) writer.newLine(indent);
    first = false;
    writer.write("-");
    if (isYamlMap(value) && value.size > 0) {
      writer.write(" ");
      writeMap(writer, value, indent + 2, true);
    } else if (isList(value) && value.length > 0) {
      writer.write(" ");
      writeList(writer, value, indent + 2, true);
    } else writeLeaf(writer, value, indent + 2);
  }
}

/** A scalar or an empty collection, after a space; null is that space alone. */
function writeLeaf(writer: Writer, value: YamlValue, indent: number): void {
  if (typeof value === "string") {
    writer.write(" ");
    writeString(writer, value, indent, false);
    return;
  }
  let text = "";
  if (isYamlMap(value)) text = "{}";
  else if (isList(value)) text = "[]";
  else if (!(value instanceof YamlFloat)) text = value === null ? "" : String(value);
  else {
    text = pythonFloat(value.value);
    if (/^-?(nan|inf)$/.test(text)) text = text.replace(/(nan|inf)$/, ".$1");
  }
  writer.write(` ${text}`);
}

function writeString(writer: Writer, text: string, indent: number, isKey: boolean): void {
  const characters = Array.from(text);
  const style = chooseStyle(characters, text);
  if (style === "plain") writePlain(writer, characters, indent, !isKey);
  else if (style === "single") writeSingleQuoted(writer, characters, indent, !isKey);
  else writeDoubleQuoted(writer, characters, indent, !isKey);
}

/** The implicit resolvers of ruamel's YAML 1.2: what a plain scalar would be read as instead of a string. */
const notStrings: readonly RegExp[] = [
  /^(?:true|True|TRUE|false|False|FALSE)$/,
  /^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/,
  /^(?!_)(?:[-+]?0b[0-1_]+|[-+]?0o?[0-7_]+|[-+]?[0-9_]+|[-+]?0x[0-9a-fA-F_]+)$/,
  /^(?:~|null|Null|NULL|)$/,
  /^(?:<<|=|!|&|\*)$/,
  /^(?:\d{4}-\d\d-\d\d|\d{4}-\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?(?:[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?)$/,
];

function isPrintable(character: string): boolean {
  const code = character.codePointAt(0) ?? 0;
  if (code === 0xfeff) return false;
  return (
    (code >= 0x20 && code <= 0x7e) ||
    code === 0x85 ||
    (code >= 0xa0 && code <= 0xd7ff) ||
    (code >= 0xe000 && code <= 0xfffd) ||
    code >= 0x10000
  );
}

/** `analyze_scalar` and `choose_scalar_style`. */
function chooseStyle(characters: readonly string[], text: string): "plain" | "single" | "double" {
  if (text === "") return "single";
  const first = characters[0] ?? "";
  const isBlank = (character: string | undefined): boolean => character === undefined || blanks.includes(character);
  const isBreak = (character: string | undefined): boolean => character !== undefined && breaks.includes(character);
  const multiline = characters.some(isBreak);
  const special = characters.some((character) => character !== "\n" && !isPrintable(character));
  let spaceBreak = false;
  let breakSpace = false;
  let indicators = text.startsWith("---") || text.startsWith("...") || "#,[]{}&*!|>'\"%@`".includes(first);
  characters.forEach((character, i) => {
    const [before, after] = [characters[i - 1], characters[i + 1]];
    if (i === 0 && "?:-".includes(character) && isBlank(after)) indicators = true;
    if (i > 0 && character === ":" && isBlank(after)) indicators = true;
    if (i > 0 && character === "#" && isBlank(before)) indicators = true;
    if (character === " " && isBreak(before)) breakSpace = true;
    if (isBreak(character) && before === " ") spaceBreak = true;
  });
  const edge = [first, characters.at(-1) ?? ""].some((character) => character === " " || isBreak(character));
  const resolvesToString = !notStrings.some((pattern) => pattern.test(text));
  const plain = !edge && !breakSpace && !special && !spaceBreak && !multiline && !indicators;
  if (plain && resolvesToString) return "plain";
  if (text.includes("'") || text.includes("\n")) return "double";
  return breakSpace || special || spaceBreak || multiline ? "double" : "single";
}

function writePlain(writer: Writer, text: readonly string[], indent: number, split: boolean): void {
  let start = 0;
  let spaces = false;
  for (let end = 0; end <= text.length; end++) {
    const character = text[end];
    if (spaces) {
      if (character !== " ") {
        if (start + 1 === end && writer.column >= bestWidth && split) writer.newLine(indent);
        else writer.write(text.slice(start, end).join(""));
        start = end;
      }
    } else if (character === undefined || character === " ") {
      const data = text.slice(start, end);
      // A word longer than what is left of the line gets its own line.
      if (split && data.length + writer.column > bestWidth && writer.column > indent) writer.newLine(indent);
      writer.write(data.join(""));
      start = end;
    }
    spaces = character === " ";
  }
}

function writeSingleQuoted(writer: Writer, text: readonly string[], indent: number, split: boolean): void {
  writer.write("'");
  let start = 0;
  let spaces = false;
  for (let end = 0; end <= text.length; end++) {
    const character = text[end];
    if (spaces) {
      if (character !== " ") {
        const fold = start + 1 === end && writer.column > bestWidth && split && start !== 0 && end !== text.length;
        if (fold) writer.newLine(indent);
        else writer.write(text.slice(start, end).join(""));
        start = end;
      }
    } else if (character === undefined || character === " " || character === "'") {
      writer.write(text.slice(start, end).join(""));
      start = end;
    }
    if (character === "'") {
      writer.write("''");
      start = end + 1;
    }
    spaces = character === " ";
  }
  writer.write("'");
}

const escapes: Readonly<Record<string, string>> = {
  "\0": "0",
  "\x07": "a",
  "\b": "b",
  "\t": "t",
  "\n": "n",
  "\v": "v",
  "\f": "f",
  "\r": "r",
  "\x1b": "e",
  '"': '"',
  "\\": "\\",
  "\x85": "N",
  "\u2028": "L",
  "\u2029": "P",
};

function escapeCharacter(character: string): string {
  const short = escapes[character];
  if (short !== undefined) return `\\${short}`;
  const code = character.codePointAt(0) ?? 0;
  const hex = code.toString(16).toUpperCase();
  if (code <= 0xff) return `\\x${hex.padStart(2, "0")}`;
  return code <= 0xffff ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}

function writeDoubleQuoted(writer: Writer, text: readonly string[], indent: number, split: boolean): void {
  writer.write('"');
  let start = 0;
  for (let end = 0; end <= text.length; end++) {
    const character = text[end];
    const verbatim = character !== undefined && isPrintable(character) && !'"\\\x85\u2028\u2029'.includes(character);
    if (!verbatim) {
      if (start < end) {
        writer.write(text.slice(start, end).join(""));
        start = end;
      }
      if (character !== undefined) {
        writer.write(escapeCharacter(character));
        start = end + 1;
      }
    }
    const mayFold = end > 0 && end < text.length - 1 && (character === " " || start >= end) && split;
    if (!mayFold || writer.column + (end - start) <= bestWidth) continue;
    const backslash = needsBackslash(text, start, end);
    writer.write(text.slice(start, end).join("") + (backslash ? "\\" : ""));
    if (start < end) start = end;
    writer.newLine(indent);
    if (text[start] === " ") {
      // Reading the fold gives the space back.
      if (backslash) writer.write("\\");
      else start++;
    }
  }
  writer.write('"');
}

/** Whether a fold at `end` has to be escaped, because reading it would otherwise add a space. */
function needsBackslash(text: readonly string[], start: number, end: number): boolean {
  const space = text.indexOf(" ", end);
  if (space < 0) return true;
  const lineEnd = text.slice(end, space).indexOf("\n");
  const at = lineEnd < 0 ? space : end + lineEnd;
  const after = text[at + 1];
  if (after === undefined) return true;
  if (text[at] === "\n" && after !== " ") return true;
  const quoted = text.slice(end, at).some((character) => character === '"' || character === "'");
  return quoted || " \n".includes(after) || (text[end - 1] === " " && text[end] === " ") || start === end;
}
