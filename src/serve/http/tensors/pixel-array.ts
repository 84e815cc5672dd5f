import { ServalError } from "../../../errors/serval-error.ts";

/** Where a value is in the bytes of a JSON text; `end` is behind it. */
export interface Place {
  readonly start: number;
  readonly end: number;
}

/** Brackets inside each other: a tensor is flat, or nested as its shape of four is. */
const maxNesting = 4;
/** No client writes a whole number up to 255 with more. */
const maxNumberChars = 32;

// Bytes of ASCII characters. Each is a constant: millions of bytes are compared with them.
const quote = 0x22;
const comma = 0x2c;
const zero = 0x30;
const nine = 0x39;
const colon = 0x3a;
const openList = 0x5b;
const backslash = 0x5c;
const closeList = 0x5d;
const openObject = 0x7b;
const closeObject = 0x7d;

const isSpace = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
/** Whether a number may continue with it. */
const isNumberPart = (byte: number): boolean => (byte >= zero && byte <= nine) || "+-.eE".includes(String.fromCharCode(byte));

const tensorError = (message: string): ServalError => new ServalError("E_TENSOR", `inputs.0.data: ${message}.`);
const cutOff = (): ServalError => new ServalError("E_REQUEST", "The body is not valid JSON: it ends too early.");

/**
 * The list at `inputs[...].data` of a JSON text, without reading its numbers. What is around it has at most `maxRestBytes`, and
 * is looked at only so far as it takes to find the list. Throws E_TENSOR, or E_REQUEST where the text ends too early.
 */
export function findPixelArray(json: Uint8Array, maxRestBytes: number): Place | undefined {
  let found: Place | undefined;
  let depth = 0;
  let section: string | undefined;
  let at = 0;
  for (; at < json.length; at++) {
    if (at - (found === undefined ? 0 : found.end - found.start) >= maxRestBytes) {
      throw new ServalError("E_TENSOR", `The JSON has more than ${maxRestBytes} bytes besides the \`data\` of its input.`, {
        hint: "Send one input with its pixels in `data`, or as bytes behind the JSON.",
      });
    }
    const byte = json[at];
    if (byte === openList || byte === openObject) depth++;
    else if (byte === closeList || byte === closeObject) depth--;
    else if (byte === quote) {
      const end = endOfString(json, at);
      const value = afterColon(json, end);
      const isKey = value !== undefined && (depth === 1 || depth === 3);
      const key = isKey ? Buffer.from(json.subarray(at + 1, end - 1)).toString("utf8") : undefined;
      at = end - 1;
      if (key === undefined || value === undefined) continue;
      if (depth === 1) section = key;
      else if (section === "inputs" && key === "data" && json[value] === openList) {
        if (found !== undefined) throw tensorError("expected it once");
        found = { start: value, end: endOfList(json, value) };
        at = found.end - 1;
      }
    }
  }
  return found;
}

/** Behind the closing quote. */
function endOfString(json: Uint8Array, start: number): number {
  for (let at = start + 1; at < json.length; at++) {
    if (json[at] === backslash) at++;
    else if (json[at] === quote) return at + 1;
  }
  throw cutOff();
}

/** Where the value of a key begins, if what ends at `end` is a key. */
function afterColon(json: Uint8Array, end: number): number | undefined {
  const at = skipSpaces(json, end);
  return json[at] === colon ? skipSpaces(json, at + 1) : undefined;
}

function skipSpaces(json: Uint8Array, start: number): number {
  let at = start;
  while (isSpace(json[at])) at++;
  return at;
}

/** Behind the closing bracket of a list that holds lists and numbers only. */
function endOfList(json: Uint8Array, start: number): number {
  let depth = 0;
  for (let at = start; at < json.length; at++) {
    const byte = json[at];
    if (byte === openList && ++depth > maxNesting) throw tensorError(`expected at most ${maxNesting} brackets inside each other`);
    else if (byte === closeList && --depth === 0) return at + 1;
    else if (byte === quote || byte === openObject) throw tensorError("expected numbers and lists of them only");
  }
  throw cutOff();
}

/** The numbers of a list that `findPixelArray` found, `count` of them, each from 0 to 255. Throws E_TENSOR. */
export function readPixelArray(json: Uint8Array, { start, end }: Place, count: number): Uint8Array<ArrayBuffer> {
  const pixels = new Uint8Array(count);
  let filled = 0;
  /** Whether a value must, may or cannot come next. */
  let next: "value" | "value or end" | "separator" = "value";
  let at = start;
  while (at < end) {
    const byte = json[at] as number;
    if (next === "separator" && (byte === comma || byte === closeList)) {
      if (byte === comma) next = "value";
      at++;
    } else if (next !== "separator" && byte >= zero && byte <= nine) {
      if (filled === count) throw tensorError(`expected ${count} values, got more`);
      let value = byte - zero;
      let last = at + 1;
      // 0 is the only whole number that begins with 0.
      for (; value > 0 && last < at + 3; last++) {
        const digit = json[last] as number;
        if (digit < zero || digit > nine) break;
        value = value * 10 + digit - zero;
      }
      if (value > 255 || isNumberPart(json[last] as number)) {
        last = endOfNumber(json, at);
        value = readNumber(json, at, last, filled);
      }
      pixels[filled++] = value;
      next = "separator";
      at = last;
    } else if (isSpace(byte)) at++;
    else if (byte === openList && next !== "separator") {
      next = "value or end";
      at++;
    } else if (byte === closeList && next === "value or end") {
      next = "separator";
      at++;
    } else {
      const where = next === "separator" ? `after value ${filled - 1}` : `as value ${filled}`;
      const wanted = next === "separator" ? "a comma or ]" : "a whole number from 0 to 255";
      throw tensorError(`expected ${wanted} ${where}, got ${JSON.stringify(textOf(json, at, Math.min(end, at + 8)))}`);
    }
  }
  if (filled < count) throw tensorError(`expected ${count} values, got ${filled}`);
  return pixels;
}

function endOfNumber(json: Uint8Array, start: number): number {
  let at = start;
  while (at - start <= maxNumberChars && isNumberPart(json[at] as number)) at++;
  return at;
}

/** A number in any other form than up to three digits, such as 2.5e1. */
function readNumber(json: Uint8Array, start: number, end: number, index: number): number {
  const text = textOf(json, start, end);
  const value = text.length > maxNumberChars ? Number.NaN : parseNumber(text);
  if (Number.isInteger(value) && value >= 0 && value <= 255) return value;
  throw tensorError(`value ${index} is ${text}; expected a whole number from 0 to 255`);
}

/** NaN where it is not a number of JSON. */
function parseNumber(text: string): number {
  try {
    return JSON.parse(text) as number;
  } catch {
    return Number.NaN;
  }
}

function textOf(json: Uint8Array, start: number, end: number): string {
  return Buffer.from(json.subarray(start, end)).toString("latin1");
}
