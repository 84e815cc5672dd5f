import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseSync, Visitor } from "oxc-parser";
import { expect, test } from "vitest";
import { VERBS } from "../../../src/cli/main.ts";

const tests = join(import.meta.dirname, "../..");

/** The first texts of lists: `runCli(["train", …])`, `startServal(dir, ["up"])`. */
function firstWords(path: string, text: string): string[] {
  const words: string[] = [];
  new Visitor({
    ArrayExpression({ elements: [first] }) {
      if (first?.type === "Literal" && typeof first.value === "string") words.push(first.value);
    },
  }).visit(parseSync(path, text, { lang: "ts", sourceType: "module" }).program);
  return words;
}

test("every verb is run by a test that needs nothing but Node", () => {
  const run = new Set<string>();
  for (const suite of ["unit", "cases", "e2e", "hostile", "helpers"]) {
    for (const name of readdirSync(join(tests, suite), { recursive: true, encoding: "utf8" })) {
      if (!name.endsWith(".ts") || name.startsWith("house")) continue;
      const path = join(tests, suite, name);
      for (const word of firstWords(path, readFileSync(path, "utf8"))) run.add(word);
    }
  }
  expect(Object.keys(VERBS).filter((verb) => !run.has(verb))).toEqual([]);
});

test("a verb counts where it begins a command line, and not where it is named", () => {
  expect(firstWords("a.test.ts", `await runCli(["smoke", url], context); test("smoke", () => run("smoke", ...["serve"]));`)).toEqual([
    "smoke",
    "serve",
  ]);
});
