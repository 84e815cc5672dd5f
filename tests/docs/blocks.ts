import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const root: string = join(import.meta.dirname, "../..");

/** Text between fences of a page. */
export interface Block {
  readonly page: string;
  /** Line of the page with the fence. */
  readonly line: number;
  readonly language: string;
  readonly lines: readonly string[];
}

/** The pages for users. CONTRIBUTING.md is for those who work on Serval; docs/cli.md holds what `--help` prints. */
export const pages: readonly string[] = [
  "README.md",
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
  "models/cats-dogs/README.md",
];

const shells = new Set(["sh", "bash", "shell", "console", "zsh"]);
export const isCommands = ({ language }: Block): boolean => shells.has(language);

export function readBlocks(page: string): Block[] {
  const blocks: Block[] = [];
  let open: { line: number; language: string; indent: string; lines: string[] } | undefined;
  for (const [i, text] of readFileSync(join(root, page), "utf8").split("\n").entries()) {
    const fence = /^(\s*)```(\S*)/.exec(text);
    if (fence === null) {
      open?.lines.push(text.startsWith(open.indent) ? text.slice(open.indent.length) : text);
    } else if (open === undefined) {
      open = { line: i + 1, language: fence[2] ?? "", indent: fence[1] ?? "", lines: [] };
    } else {
      blocks.push({ page, line: open.line, language: open.language, lines: open.lines });
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`${page}:${open.line}: this block has no end`);
  return blocks;
}

export const placeOf = ({ page, line }: Block): string => `${page}:${line}`;

/** Several blanks count as one. */
export function beginsWith({ lines }: Block, begins: string): boolean {
  const plain = (text: string): string => text.replaceAll(/ +/g, " ");
  return plain(lines.join("\n")).startsWith(plain(begins));
}

/** The one block of a page that begins so. */
export function findBlock(page: string, begins: string): Block {
  const found = readBlocks(page).filter((block) => beginsWith(block, begins));
  if (found.length === 1) return found[0]!;
  throw new Error(`${page} has ${found.length} blocks that begin with ${JSON.stringify(begins)}; a test follows one of them`);
}

/** Commands of a block, without comments: continued lines are one. */
export function commandsOf({ lines }: Block): string[] {
  return lines
    .join("\n")
    .replaceAll(/\\\n\s*/g, "")
    .split("\n")
    .map((line) => line.replace(/(^|\s)#.*$/, "").trim())
    .filter((line) => line !== "");
}

/** The code spans of a page's prose. */
export function readSpans(page: string): { readonly line: number; readonly text: string }[] {
  let inBlock = false;
  return readFileSync(join(root, page), "utf8")
    .split("\n")
    .flatMap((text, i) => {
      if (/^\s*```/.test(text)) inBlock = !inBlock;
      return inBlock ? [] : [...text.matchAll(/`([^`]+)`/g)].map(([, span = ""]) => ({ line: i + 1, text: span }));
    });
}
