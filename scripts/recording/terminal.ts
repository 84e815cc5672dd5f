/** What a program wrote to a terminal, and when. */
export interface Written {
  /** Seconds from the beginning. */
  readonly at: number;
  readonly text: string;
}

/** A line as it was on the screen from a moment on, until the next one of the same row. */
export interface ShownLine {
  readonly row: number;
  readonly text: string;
  readonly from: number;
  /** Absent where the line stays to the end. */
  readonly until?: number;
}

export interface Screen {
  readonly lines: readonly ShownLine[];
  /** Number of rows at the end. */
  readonly rows: number;
}

/** Control sequences that Serval writes to a terminal: the start of the row, the next row, and an empty row. */
const controls = /\r\n|[\r\n]|\x1b\[2K/g; // oxlint-disable-line no-control-regex

interface Terminal {
  readonly columns: number;
  /** A row that changes again within that time shows only its last text of that time. */
  readonly leastSeconds?: number;
}

/** Follows the cursor over the rows. */
export function replay(written: readonly Written[], { columns, leastSeconds = 0.2 }: Terminal): Screen {
  const rows: { text: string; versions: { text: string; from: number }[] }[] = [];
  const at = (row: number): (typeof rows)[number] => (rows[row] ??= { text: "", versions: [] });
  let [row, column] = [0, 0];
  const touched = new Set<number>();
  const put = (text: string): void => {
    if (text === "") return;
    if (column === columns) [row, column] = [row + 1, 0];
    const fits = text.slice(0, columns - column);
    const line = at(row);
    line.text = line.text.slice(0, column).padEnd(column) + fits + line.text.slice(column + fits.length);
    column += fits.length;
    touched.add(row);
    put(text.slice(fits.length));
  };
  for (const { at: seconds, text } of written) {
    let from = 0;
    for (const { 0: control, index } of text.matchAll(controls)) {
      put(text.slice(from, index));
      from = index + control.length;
      if (control === "\x1b[2K") {
        at(row).text = "";
        touched.add(row);
      } else {
        column = 0;
        if (control.includes("\n")) at(++row);
      }
    }
    put(text.slice(from));
    for (const changed of touched) {
      const { text: now, versions } = at(changed);
      const last = versions.at(-1);
      if (last !== undefined && seconds - last.from < leastSeconds) versions[versions.length - 1] = { text: now, from: last.from };
      else if (last?.text !== now) versions.push({ text: now, from: seconds });
    }
    touched.clear();
  }
  const lines = rows.flatMap(({ versions }, index) =>
    versions.flatMap(({ text, from }, i): ShownLine[] => {
      const until = versions[i + 1]?.from;
      return text.trim() === "" ? [] : [{ row: index, text: text.trimEnd(), from, ...(until === undefined ? {} : { until }) }];
    }),
  );
  return { lines, rows: rows.length };
}

/** Pauses that are longer than that many seconds become that long. */
export function shortenPauses(written: readonly Written[], longest: number): Written[] {
  let [last, left] = [0, 0];
  return written.map(({ at, text }) => {
    left += Math.max(0, at - last - longest);
    last = at;
    return { at: at - left, text };
  });
}
