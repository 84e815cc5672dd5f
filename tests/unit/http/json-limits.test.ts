import fc from "fast-check";
import { expect, test } from "vitest";
import { findJsonExcess } from "../../../src/http/json-limits.ts";

const limits = { values: 10, nesting: 3 };
const find = (text: string): string | undefined => findJsonExcess(Buffer.from(text), limits);

test.each<[string, string | undefined]>([
  ["[1,2,3,4,5,6,7,8,9]", undefined],
  ["[1,2,3,4,5,6,7,8,9,10]", "expected at most 10 values"],
  ['{"a":{"b":[1,2]}}', undefined],
  ['{"a":{"b":[[]]}}', "expected at most 3 lists and objects inside each other"],
  ['["[[[[[[,,,,,,,,,,,,,", "\\"[[[[,,,,,,,,,,,"]', undefined],
  ["[[],[],[]]", undefined],
  ["[[],[],[],[],[]]", "expected at most 10 values"],
  ['"no end \\', undefined],
  ["not JSON", undefined],
])("%s: %s", (text, problem) => {
  expect(find(text)).toBe(problem);
});

/** Values and members as the limit counts them, after parsing. */
function measure(value: unknown): { values: number; nesting: number } {
  if (typeof value !== "object" || value === null) return { values: 0, nesting: 0 };
  const children = Object.values(value).map(measure);
  const own = 1 + Math.max(0, children.length - 1);
  return {
    values: own + children.reduce((sum, child) => sum + child.values, 0),
    nesting: 1 + Math.max(0, ...children.map(({ nesting }) => nesting)),
  };
}

test("counts in the text what JSON.parse makes of it", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 5 }), (text) => {
      const { values, nesting } = measure(JSON.parse(text));
      const excess = nesting > limits.nesting || values + 1 > limits.values;
      expect(find(text) !== undefined).toBe(excess);
    }),
  );
});
