/** The parts of JSON Schema that the parameters and the environment use. */
export interface SchemaNode {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  /** The default where all layers of a pretrained backbone learn, if it is another. */
  readonly fineTuningDefault?: unknown;
  readonly enum?: readonly (string | number)[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly multipleOf?: number;
  readonly minLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
  /** What the pattern means, for a reader. */
  readonly patternMeaning?: string;
  readonly items?: SchemaNode;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
}

/** What a schema accepts, in words: `an integer of at least 1`, `one of squash, crop, pad`. */
export function describeExpected(node: SchemaNode): string {
  if (node.enum) return `one of ${node.enum.join(", ")}`;
  switch (node.type) {
    case "integer":
    case "number": {
      const noun = node.type === "integer" ? "an integer" : "a number";
      return [noun, describeRange(node), node.multipleOf === undefined ? "" : `in steps of ${node.multipleOf}`].filter(Boolean).join(" ");
    }
    case "boolean":
      return "true or false";
    case "array": {
      const count =
        node.minItems === node.maxItems ? ` of ${node.minItems}` : ` of ${node.minItems ?? 0} to ${node.maxItems ?? "any number"}`;
      return `a list${count}, each ${describeExpected(node.items ?? {})}`;
    }
    case "object":
      return `a section with the keys ${Object.keys(node.properties ?? {}).join(", ")}`;
    default:
      return node.patternMeaning ?? (node.minLength ? "text that is not empty" : "text");
  }
}

function describeRange(node: SchemaNode): string {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = node;
  if (minimum !== undefined && maximum !== undefined) return `from ${minimum} to ${maximum}`;
  const low = minimum !== undefined ? `of at least ${minimum}` : exclusiveMinimum !== undefined ? `above ${exclusiveMinimum}` : "";
  const high = maximum !== undefined ? `at most ${maximum}` : exclusiveMaximum !== undefined ? `below ${exclusiveMaximum}` : "";
  return [low, high].filter(Boolean).join(" and ");
}

/** What was given, short enough for a message. */
export function describeGot(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/** Longer keys are not compared: the time grows with their length, and a typing mistake is shorter. */
const longestWord = 100;

/** The candidate that a mistyped word most probably means, or undefined when none is near. Dotted paths compare by their last key too. */
export function nearestKey(word: string, candidates: readonly string[]): string | undefined {
  if (word.length > longestWord) return undefined;
  const wanted = plainLeaf(word);
  let best: { key: string; distance: number } | undefined;
  for (const key of candidates) {
    const distance = Math.min(editDistance(wanted, plainLeaf(key)), editDistance(word.toLowerCase(), key.toLowerCase()));
    if (best === undefined || distance < best.distance) best = { key, distance };
  }
  return best && best.distance <= Math.ceil(wanted.length / 4) ? best.key : undefined;
}

/** `train.learning_rate` and `LearningRate` are both `learningrate`. */
function plainLeaf(path: string): string {
  return path
    .slice(path.lastIndexOf(".") + 1)
    .toLowerCase()
    .replaceAll(/[-_]/g, "");
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
