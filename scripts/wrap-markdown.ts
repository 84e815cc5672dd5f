import { readdirSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

/** Every page that people read, below the repository: those that are generated, and those that are written by hand. */
export function documents(): string[] {
  const inFolder = (folder: string): string[] => readdirSync(join(root, folder)).map((name) => join(folder, name));
  return ["", "docs", "docs/notes"].flatMap(inFolder).filter((path) => path.endsWith(".md"));
}

/** Longest line of a document. What cannot be broken (a table, a block, an address) may be longer. */
const documentWidth = 120;

/** A code span, a picture or a word with what is attached to it. */
const unbreakable = /(?:`[^`]*`|!\[[^\]]*\]\([^)]*\)|\S)+/g;
/** At the beginning of a line these would begin a list, a heading, a quotation or a row. */
const begins = /^(?:[-+*>|]|#{1,6}$|\d+[.)]$|=+$|<)/;
const item = /^(\s*)(?:[-*+]|\d+[.)]) +/;

/** Wraps each paragraph and list item that has a line over the width, and leaves everything else as it is. */
export function wrapMarkdown(text: string, width: number = documentWidth): string {
  const out: string[] = [];
  let paragraph: string[] = [];
  const flush = (): void => {
    out.push(...(paragraph.some((line) => line.length > width) ? wrapParagraph(paragraph, width) : paragraph));
    paragraph = [];
  };
  let fence: string | undefined;
  for (const line of text.split("\n")) {
    const mark = /^\s*(```|~~~)/.exec(line)?.[1];
    const wasOpen = fence !== undefined;
    if (mark !== undefined && (!wasOpen || fence === mark)) fence = wasOpen ? undefined : mark;
    const asItIs = wasOpen || mark !== undefined || /^\s*(?:$|\||#|<|>)/.test(line) || (/^ {4}/.test(line) && paragraph.length === 0);
    if (asItIs || item.test(line)) flush();
    if (asItIs) out.push(line);
    else paragraph.push(line);
  }
  flush();
  return out.join("\n");
}

function wrapParagraph(lines: readonly string[], width: number): string[] {
  const first = lines[0] ?? "";
  const marker = item.exec(first)?.[0];
  const indent = " ".repeat(marker === undefined ? /^\s*/.exec(first)![0].length : marker.length);
  const words =
    lines
      .join(" ")
      .slice((marker ?? indent).length)
      .match(unbreakable) ?? [];
  const wrapped: string[] = [];
  let line = (marker ?? indent) + (words.shift() ?? "");
  for (const [i, word] of words.entries()) {
    // A word that must not begin a line pulls the one before it along, by staying with it.
    const glued = begins.test(words[i + 1] ?? "") ? `${word} ${words[i + 1]}` : word;
    if (begins.test(word) || line.length + 1 + glued.length <= width) {
      line += ` ${word}`;
    } else {
      wrapped.push(line);
      line = indent + word;
    }
  }
  return [...wrapped, line];
}
