import { ServalError } from "../errors/serval-error.ts";

/** A line of a table, by the names of its columns in lower case. */
export interface CsvRecord {
  /** In the file, from 1. */
  readonly line: number;
  readonly values: Readonly<Record<string, string>>;
}

const separators = [",", ";", "\t"] as const;

/**
 * The records of a CSV with a line of column names (RFC 4180), as spreadsheets write it: with or without a byte order mark, CRLF or LF, and commas,
 * semicolons or tabs between the values, whichever the first line has most of. `where` is the file's path, for messages. Throws E_CORRECTIONS.
 */
export function parseCsv(text: string, where: string): CsvRecord[] {
  const plain = text.replace(/^\uFEFF/, "");
  const head = plain.slice(0, Math.max(0, plain.search(/[\r\n]|$/)));
  const counts = separators.map((separator) => head.split(separator).length);
  const separator = separators[counts.indexOf(Math.max(...counts))] ?? ",";
  const [names, ...lines] = splitLines(plain, separator, where);
  const columns = (names?.cells ?? []).map((name) => name.trim().toLowerCase());
  return lines.map(({ line, cells }) => ({ line, values: Object.fromEntries(columns.map((name, k) => [name, (cells[k] ?? "").trim()])) }));
}

/** A table as CSV: quoted where it must be. */
export function formatCsv(lines: readonly (readonly string[])[]): string {
  return lines.map((cells) => `${cells.map(quote).join(",")}\n`).join("");
}

function quote(cell: string): string {
  return /[",;\t\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

/** Lines of cells; empty lines are left out. */
function splitLines(text: string, separator: string, where: string): { line: number; cells: string[] }[] {
  const lines: { line: number; cells: string[] }[] = [];
  let [at, line] = [0, 1];
  while (at < text.length) {
    const cells: string[] = [];
    const startedAt = line;
    for (let ended = false; !ended;) {
      const cell = readCell(text, at, separator);
      if (cell === undefined) {
        throw new ServalError("E_CORRECTIONS", `${where}:${startedAt}: a quotation mark is not closed, or has text behind it.`);
      }
      cells.push(cell.value);
      line += cell.value.split("\n").length - 1;
      ended = text[cell.end] !== separator;
      at = cell.end + 1;
    }
    if (text[at - 1] === "\r" && text[at] === "\n") at++;
    line++;
    if (cells.some((cell) => cell !== "")) lines.push({ line: startedAt, cells });
  }
  return lines;
}

/** The cell that begins at `start`, and where its separator or line end is; undefined where its quotation marks are wrong. */
function readCell(text: string, start: number, separator: string): { value: string; end: number } | undefined {
  if (text[start] !== '"') {
    let end = start;
    while (end < text.length && text[end] !== separator && text[end] !== "\n" && text[end] !== "\r") end++;
    return { value: text.slice(start, end), end };
  }
  let value = "";
  for (let at = start + 1; ;) {
    const close = text.indexOf('"', at);
    if (close === -1) return undefined;
    value += text.slice(at, close);
    at = close + 1;
    if (text[at] === '"') {
      value += '"';
      at++;
    } else {
      const isEnd = at >= text.length || text[at] === separator || text[at] === "\n" || text[at] === "\r";
      return isEnd ? { value, end: at } : undefined;
    }
  }
}
