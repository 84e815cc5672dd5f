import { expect, test } from "vitest";
import { hasExpression, interpolate, InterpolationProblem } from "../../../src/pipeline/dvc-files/interpolate.ts";
import type { YamlMap } from "../../../src/pipeline/dvc-files/yaml-values.ts";

const variables: YamlMap = new Map([
  ["a", "1"],
  ["b", "2"],
]);

test.each([
  ["${a}", "1"],
  ["${a}-${b}", "1-2"],
  ["\\${a} ${b}", "${a} 2"],
  ["${a\n}", "${a\n}"],
  ["${a", "${a"],
  ["a}${b}", "a}2"],
  ["no {a} $a", "no {a} $a"],
])("%j becomes %j, as in DVC", (text, expected) => {
  expect(interpolate(text, variables, true)).toBe(expected);
});

test("an expression ends at the first brace, so one inside another is a problem", () => {
  expect(interpolate("${ ${b}", variables, true)).toBeInstanceOf(InterpolationProblem);
});

test("a text of 200,000 beginnings of expressions takes time in proportion to its length", () => {
  const before = process.cpuUsage();
  for (const text of [
    "${".repeat(200_000),
    `${"${".repeat(200_000)}\n}`,
    "\\${".repeat(200_000),
    `${"${".repeat(100_000)}${"\n}".repeat(100_000)}`,
  ])
    expect(hasExpression(text)).toBe(false);
  expect(process.cpuUsage(before).user).toBeLessThan(1_000_000);
});
