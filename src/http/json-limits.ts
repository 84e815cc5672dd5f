export interface JsonLimits {
  /** Values, and members of objects, in all. */
  readonly values: number;
  /** Lists and objects inside each other. */
  readonly nesting: number;
}

const quote = 0x22;
const comma = 0x2c;
const openList = 0x5b;
const backslash = 0x5c;
const closeList = 0x5d;
const openObject = 0x7b;
const closeObject = 0x7d;

/**
 * What makes a JSON text too costly to parse and to check, found without parsing it: it takes a nanosecond or two for each byte
 * and no memory. Undefined where the text is within the limits, whether it is JSON or not.
 */
export function findJsonExcess(json: Uint8Array, { values, nesting }: JsonLimits): string | undefined {
  let count = 1;
  let depth = 0;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (byte === quote) at = endOfString(json, at);
    else if (byte === openList || byte === openObject) {
      depth++;
      count++;
      if (depth > nesting) return `expected at most ${nesting} lists and objects inside each other`;
    } else if (byte === closeList || byte === closeObject) depth--;
    else if (byte === comma) count++;
    if (count > values) return `expected at most ${values} values`;
  }
  return undefined;
}

/** At the closing quote, or at the end of the text. */
function endOfString(json: Uint8Array, start: number): number {
  let at = start + 1;
  while (at < json.length && json[at] !== quote) at += json[at] === backslash ? 2 : 1;
  return at;
}
