import { ServalError } from "../../errors/serval-error.ts";

/** One row of a CSV file, and the line that it begins on, counted from 1. */
export interface CsvRecord {
  readonly line: number;
  readonly cells: readonly string[];
}

/** No path or address is this long; a quote that is not closed is. */
const mostRecordLetters = 1 << 20;
const separators = [",", ";", "\t"];

/**
 * The rows of a CSV file (RFC 4180) that comes in pieces: quotes, quoted line ends, CRLF or LF, a byte order mark. What separates the
 * cells, a comma, a semicolon or a tab, is what the first line has most of. Empty lines are left out. Throws E_SOURCE.
 */
export async function* readCsvRecords(title: string, pieces: AsyncIterable<Uint8Array>): AsyncGenerator<CsvRecord, void, undefined> {
  const reader = new CsvReader(title);
  let decoder: InstanceType<typeof TextDecoder> | undefined;
  for await (const piece of pieces) {
    // What spreadsheets call Unicode text. The decoder itself takes the mark of UTF-8 away.
    decoder ??= new TextDecoder(piece[0] === 0xff && piece[1] === 0xfe ? "utf-16le" : "utf-8");
    yield* reader.take(decoder.decode(piece, { stream: true }));
  }
  yield* reader.end();
}

class CsvReader {
  readonly #title: string;
  readonly #records: CsvRecord[] = [];
  /** Of the record that is being read. */
  #cells: string[] = [];
  #cell = "";
  #quoted = false;
  /** The last letter was a quote inside quotes: it ends them, or the next letter is a quote as well. */
  #quoteEnds = false;
  #line = 1;
  #startLine = 1;
  #letters = 0;
  #separator: string | undefined;
  /** The first line, until what separates its cells is known. */
  #head = "";

  constructor(title: string) {
    this.#title = title;
  }

  /** The records that end in this piece. */
  take(text: string): CsvRecord[] {
    if (this.#separator !== undefined) return this.#read(text, this.#separator);
    this.#head += text;
    if (!this.#head.includes("\n") && this.#head.length <= mostRecordLetters) return [];
    return this.#readHead();
  }

  /** What is left when the file has ended. */
  end(): CsvRecord[] {
    const records = this.#separator === undefined ? this.#readHead() : [];
    if (this.#quoted && !this.#quoteEnds) throw this.#openQuote();
    this.#endRecord();
    return [...records, ...this.#records.splice(0)];
  }

  #readHead(): CsvRecord[] {
    this.#separator = mostFrequent(this.#head.split("\n", 1)[0] ?? "");
    return this.#read(this.#head, this.#separator);
  }

  #read(text: string, separator: string): CsvRecord[] {
    for (const letter of text) this.#letter(letter, separator);
    return this.#records.splice(0);
  }

  #letter(letter: string, separator: string): void {
    if (++this.#letters > mostRecordLetters) throw this.#openQuote();
    if (this.#quoteEnds && letter === '"') {
      this.#cell += '"';
      this.#quoteEnds = false;
      return;
    }
    if (this.#quoteEnds) this.#quoted = this.#quoteEnds = false;
    if (letter === "\n") this.#line++;
    if (this.#quoted) {
      if (letter === '"') this.#quoteEnds = true;
      else this.#cell += letter;
    } else if (letter === '"' && this.#cell === "") this.#quoted = true;
    else if (letter === separator) this.#endCell();
    else if (letter === "\n") this.#endRecord();
    else this.#cell += letter;
  }

  #endCell(): void {
    this.#cells.push(this.#cell);
    this.#cell = "";
  }

  #endRecord(): void {
    // The other half of CRLF.
    if (this.#cell.endsWith("\r")) this.#cell = this.#cell.slice(0, -1);
    this.#endCell();
    const record = { line: this.#startLine, cells: this.#cells };
    this.#cells = [];
    this.#quoted = this.#quoteEnds = false;
    this.#letters = 0;
    this.#startLine = this.#line;
    if (record.cells.some((cell) => cell !== "")) this.#records.push(record);
  }

  #openQuote(): ServalError {
    return new ServalError("E_SOURCE", `"${this.#title}", line ${this.#startLine}: a quote that does not end.`, {
      hint: "Write a quote inside a quoted cell twice.",
    });
  }
}

function mostFrequent(head: string): string {
  // What is in quotes separates nothing.
  const plain = head.replaceAll(/"[^"]*"/g, "");
  const counts = separators.map((separator) => plain.split(separator).length);
  return separators[counts.indexOf(Math.max(...counts))] ?? ",";
}
