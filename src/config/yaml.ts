import {
  isAlias,
  isCollection,
  isMap,
  isPair,
  isScalar,
  Lexer,
  LineCounter,
  parseDocument,
  type Alias,
  type Document,
  type Node,
} from "yaml";
import { ServalError, type ErrorCode } from "../errors/serval-error.ts";

/** Bytes of a YAML file that is read at all: a character has one to three. */
export const maxYamlBytes = 32_000_000;

/**
 * What a YAML file may be. A dvc.lock of 10,000 stages has 4 MB, 1.2 million tokens and 0.4 million values; the files of a
 * stranger's repository may be made to cost more than they hold.
 */
const limits = {
  /** Characters of the text. */
  characters: 16_000_000,
  /** Pieces that the lexer finds: indentation, indicators, scalars and line ends. */
  tokens: 2_000_000,
  /** Values and keys, where each alias counts as much as what it stands for. */
  values: 2_000_000,
  /** Lists and mappings inside each other. */
  depth: 100,
} as const;

const tooDeep = `lists and mappings lie more than ${limits.depth} deep inside each other.`;

/** A document within the limits: all its aliases may be followed, also again and again. */
export interface CheckedYaml {
  readonly document: Document.Parsed;
  readonly lines: LineCounter;
  /** What each alias stands for. */
  readonly targets: ReadonlyMap<Alias, Node>;
}

type Fail = (offset: number, message: string) => never;

export interface YamlOptions {
  /** Whole numbers become bigint, so that 1 and 1.0 differ. */
  readonly intAsBigInt?: boolean;
}

/**
 * Parses one YAML 1.2 document; nothing else in Serval parses YAML. Throws `code`, with the file and the line, for anything
 * that is not one document, and for one beyond the limits, before it costs time or memory.
 */
export function readYaml(text: string, file: string, code: ErrorCode, { intAsBigInt = false }: YamlOptions = {}): CheckedYaml {
  const lines = new LineCounter();
  const fail = (offset: number, message: string, cause?: unknown): never => {
    const line = text.slice(0, offset).split("\n").length;
    throw new ServalError(code, `${file}:${line}: ${message}`, { cause });
  };
  if (text.length > limits.characters) {
    throw new ServalError(code, `${file}: expected at most ${limits.characters} characters of YAML, got ${text.length}.`);
  }
  checkTokens(text, fail);
  const document = withoutStackTraces(() => {
    try {
      // `uniqueKeys` compares each key with each other one: a mapping of 100,000 keys would take minutes.
      return parseDocument(text, { lineCounter: lines, intAsBigInt, uniqueKeys: false, prettyErrors: false, logLevel: "silent" });
    } catch (error) {
      // Mappings can lie inside each other within one line (`a: b: c: …` below a `?`), which no count of tokens sees.
      if (error instanceof RangeError) return fail(0, tooDeep, error);
      throw error;
    }
  });
  const [error] = document.errors;
  if (error) {
    // The parser calls itself for each level of indentation.
    fail(error.pos[0], error.message.includes("call stack") ? tooDeep : error.message, error);
  }
  const targets = new Map<Alias, Node>();
  new ValueCounter(targets, fail).count(document.contents, 0);
  return { document, lines, targets };
}

/** The same as plain JavaScript values. */
export function parsePlainYaml(text: string, file: string, code: ErrorCode): unknown {
  return readYaml(text, file, code).document.toJS({ maxAliasCount: -1 });
}

/** What can be known before a tree is built, which takes twenty times as long. */
function checkTokens(text: string, fail: Fail): void {
  let [tokens, flow, inLine, offset] = [0, 0, 0, 0];
  let isContent = false;
  for (const token of new Lexer().lex(text)) {
    if (isContent) {
      // The text of a scalar, whatever it looks like.
      isContent = false;
    } else if (token === "\x1f") {
      isContent = true;
      continue;
    } else if (token === "[" || token === "{") flow++;
    else if (token === "]" || token === "}") flow = Math.max(0, flow - 1);
    else if (token === "-" || token === "?") inLine++;
    else if (token === "\n" || token === "\r\n") inLine = 0;
    // A byte order mark and the marks of documents are as empty as `\x1f`; all other tokens are parts of the text.
    if (token !== "\x02" && token !== "\x18") offset += token.length;
    if (flow + inLine > limits.depth) fail(offset, tooDeep);
    if (++tokens > limits.tokens) fail(offset, `the file has more than ${limits.tokens} pieces of YAML.`);
  }
}

/** Every error of the parser takes a stack trace, and a damaged file can have one for each character. */
function withoutStackTraces<T>(parse: () => T): T {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return parse();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** Counts values as if every alias were written out, without writing any out; finds out what the aliases stand for. */
class ValueCounter {
  readonly #targets: Map<Alias, Node>;
  readonly #fail: Fail;
  readonly #anchors = new Map<string, Node>();
  readonly #counts = new Map<Node, number>();

  constructor(targets: Map<Alias, Node>, fail: Fail) {
    this.#targets = targets;
    this.#fail = fail;
  }

  count(node: unknown, depth: number): number {
    if (isPair(node)) return this.count(node.key, depth) + this.count(node.value, depth);
    if (isAlias(node)) return this.#countAlias(node);
    const anchor = isScalar(node) || isCollection(node) ? node.anchor : undefined;
    if (anchor !== undefined) this.#anchors.set(anchor, node as Node);
    let count = 1;
    if (isCollection(node)) {
      const at = node.range?.[0] ?? 0;
      if (depth >= limits.depth) this.#fail(at, tooDeep);
      if (isMap(node)) this.#checkKeys(node.items);
      for (const item of node.items) {
        count += this.count(item, depth + 1);
        if (count > limits.values) {
          this.#fail(at, `with its aliases written out this holds more than ${limits.values} values.`);
        }
      }
    }
    if (anchor !== undefined) this.#counts.set(node as Node, count);
    return count;
  }

  #countAlias(alias: Alias): number {
    const at = alias.range?.[0] ?? 0;
    const target = this.#anchors.get(alias.source);
    if (target === undefined) return this.#fail(at, `the alias *${alias.source} comes before its anchor &${alias.source}, or has none.`);
    this.#targets.set(alias, target);
    return this.#counts.get(target) ?? this.#fail(at, `the alias *${alias.source} is inside its own anchor.`);
  }

  #checkKeys(pairs: readonly { readonly key: unknown }[]): void {
    const seen = new Set<unknown>();
    for (const { key } of pairs) {
      if (!isScalar(key)) continue;
      if (seen.has(key.value))
        this.#fail(key.range?.[0] ?? 0, `Map keys must be unique: ${JSON.stringify(String(key.value))} is there twice.`);
      seen.add(key.value);
    }
  }
}
