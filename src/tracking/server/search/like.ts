import { invalid } from "../refusal.ts";

/** Comparisons of characters that one search may cost: about a second of work. */
const maxSteps = 50_000_000;

/**
 * SQL's LIKE: `%` is any text, `_` is one character. SQLite's own takes the length of the text times the length of the pattern,
 * some minutes for a search of 10,000 runs by a pattern of 1,000 characters. Here each text between two `%` is looked for once
 * from left to right, by the search of strings that the engine has. Only for texts with `_` it compares itself, and counts.
 */
export class Like {
  #steps = 0;
  #pattern: string | undefined;
  #pieces: readonly string[] = [];

  /** Before each search. */
  restart(): void {
    this.#steps = 0;
  }

  fits(pattern: string, text: string): boolean {
    if (pattern !== this.#pattern) {
      this.#pattern = pattern;
      // `%%` is `%`.
      this.#pieces = pattern.split("%").filter((piece, i, all) => piece !== "" || i === 0 || i === all.length - 1);
    }
    const pieces = this.#pieces;
    const [first = ""] = pieces;
    const last = pieces.at(-1) ?? "";
    let at = this.#startFits(text, 0, first);
    if (at === undefined) return false;
    if (pieces.length === 1) return at === text.length;
    for (const piece of pieces.slice(1, -1)) {
      at = this.#endOfFirst(text, at, piece);
      if (at === undefined) return false;
    }
    return this.#endFits(text, at, last);
  }

  /** Where the piece ends when it is at `at`. */
  #startFits(text: string, at: number, piece: string): number | undefined {
    if (!piece.includes("_")) return text.startsWith(piece, at) ? at + piece.length : undefined;
    for (let i = 0; i < piece.length; i++) {
      if (++this.#steps > maxSteps) throw invalid("The filter's LIKE takes too long. Use fewer _ or a more specific filter.");
      const code = text.codePointAt(at);
      if (code === undefined) return undefined;
      if (piece[i] === "_") at += code > 0xff_ff ? 2 : 1;
      else if (piece.charCodeAt(i) === text.charCodeAt(at)) at++;
      else return undefined;
    }
    return at;
  }

  /** Where the first such piece from `at` on ends. */
  #endOfFirst(text: string, at: number, piece: string): number | undefined {
    if (!piece.includes("_")) {
      const found = text.indexOf(piece, at);
      return found < 0 ? undefined : found + piece.length;
    }
    for (let start = at; start < text.length; start++) {
      const end = this.#startFits(text, start, piece);
      if (end !== undefined) return end;
    }
    return undefined;
  }

  #endFits(text: string, at: number, piece: string): boolean {
    if (!piece.includes("_")) return text.length - piece.length >= at && text.endsWith(piece);
    // A pair of code units counts as one `_`, so the start is not known: at most twice as far back as the piece is long.
    for (let start = Math.max(at, text.length - 2 * piece.length); start < text.length; start++)
      if (this.#startFits(text, start, piece) === text.length) return true;
    return false;
  }
}
