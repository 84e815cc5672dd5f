import { invalid, quote } from "../refusal.ts";

export type TokenKind = "word" | "text" | "number" | "operator" | "punctuation";

export interface Token {
  readonly kind: TokenKind;
  /** As written, quotes included. */
  readonly text: string;
}

/**
 * The words of a filter: identifiers with quoted parts (metrics.`val loss`, tags."a.b"), 'text' or "text", numbers,
 * operators and brackets. Quotes have no escapes, as in MLflow.
 */
const patterns: readonly (readonly [TokenKind, RegExp])[] = [
  ["number", /(?<!\d)[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])/y],
  ["word", /(?:[\p{L}_][\p{L}\p{N}_]*(?:[./-][\p{L}\p{N}_]+)*)(?:\.(?:`[^`]*`|"[^"]*"|'[^']*'))?|`[^`]*`/uy],
  ["text", /'[^']*'|"[^"]*"/y],
  ["operator", /<=|>=|!=|=|<|>/y],
  ["punctuation", /[(),]/y],
];

export function tokenize(filter: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < filter.length) {
    if (/\s/.test(filter[at] as string)) {
      at++;
      continue;
    }
    const token = readToken(filter, at);
    if (token === undefined) {
      throw invalid(`The filter ${quote(filter)} is not understood from character ${at + 1}: ${quote(filter.slice(at, at + 20))}.`);
    }
    tokens.push(token);
    at += token.text.length;
  }
  return tokens;
}

function readToken(filter: string, at: number): Token | undefined {
  for (const [kind, pattern] of patterns) {
    pattern.lastIndex = at;
    const text = pattern.exec(filter)?.[0];
    if (text !== undefined) return { kind, text };
  }
  return undefined;
}
