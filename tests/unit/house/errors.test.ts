import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ERRORS } from "../../../src/errors/error-table.ts";
import { expectedCodes } from "./expected-codes.ts";

const tests = join(import.meta.dirname, "../..");
/** The tests that every `npm test` and every run with coverage has: no servers or engines have to be installed for them. */
const folders = ["unit", "hostile", "cases"];

test("every error code is provoked: a test of the unit suite, of the cases or of the hostile suite expects it", () => {
  const found = new Set<string>();
  for (const folder of folders) {
    for (const name of readdirSync(join(tests, folder), { recursive: true, encoding: "utf8" })) {
      // The tests of the house read the tables; they provoke nothing.
      if (!name.endsWith(".test.ts") || name.startsWith("house")) continue;
      const path = join(tests, folder, name);
      for (const code of expectedCodes(path, readFileSync(path, "utf8"))) found.add(code);
    }
  }
  expect(Object.keys(ERRORS).filter((code) => !found.has(code))).toEqual([]);
});

describe("a code counts as expected", () => {
  const codesIn = (text: string): string[] => [...expectedCodes("a.test.ts", text)];

  test.each([
    [`await expect(run()).rejects.toMatchObject({ code: "E_GRAPH" });`],
    [`await expect(run()).rejects.toEqual(failsWith("E_GRAPH"));`],
    ["expect([code, stderr]).toEqual([1, expect.stringContaining(`E_GRAPH: ${message}`)]);"],
    [`expect(stderr).toMatch(/^E_GRAPH: no/);`],
    [`expect(error.code === "E_GRAPH").toBe(true);`],
    [`expectError(await send(picture), "E_GRAPH", /400/);`],
    [`await expect.poll(() => codes()).toContain("E_GRAPH");`],
    [`test.each([["a name", "E_GRAPH"]])("%s", (_, code) => expect(run()).toBe(code));`],
    [`describe("x", () => test.concurrent.each(["E_GRAPH"])("%s", (code) => expect(run()).toBe(code)));`],
  ])("in %s", (text) => {
    expect(codesIn(text)).toEqual(["E_GRAPH"]);
  });

  test.each([
    [`throw new ServalError("E_GRAPH", "no");`],
    [`const known = ["E_GRAPH"];`],
    [`test("E_GRAPH is thrown", () => run());`],
    ["// expect(run()).toThrow('E_GRAPH')"],
  ])("not in %s", (text) => {
    expect(codesIn(text)).toEqual([]);
  });

  test("by its whole name", () => {
    expect(codesIn(`expect(codes).toEqual(["E_API_KEYS", "E_API_KEY"]);`)).toEqual(["E_API_KEYS", "E_API_KEY"]);
  });
});
