import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { exceptions } from "./exceptions.ts";
import { findRoomBreaches, findUnusedPermissions, noExceptions } from "./rooms.ts";
import { layers } from "./rules.ts";

const root = join(import.meta.dirname, "../../..");

/** The TypeScript files of a folder of the repository, by their path below `base`. */
function readFiles(folder: string, base: string): Map<string, string> {
  const names = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  return new Map(names.sort().map((name) => [base + name.replaceAll("\\", "/"), readFileSync(join(root, folder, name), "utf8")]));
}

/** Breaches in made-up files, without exceptions. */
function breachesIn(files: Readonly<Record<string, string>>): string[] {
  return findRoomBreaches(new Map(Object.entries(files)));
}

describe("the sources", () => {
  test("keep the rules about rooms, functions and reads, with exceptions that are needed", () => {
    const files = new Map([...readFiles("src", "src/"), ...readFiles("scripts", "scripts/")]);
    expect(files.size).toBeGreaterThan(200);
    expect(findRoomBreaches(files, exceptions)).toEqual([]);
  });

  test("use every permission of the layer table", () => {
    expect(findUnusedPermissions(readFiles("src", ""), layers)).toEqual([]);
  });
});

describe("the rule about folders inside a room", () => {
  const files = {
    "src/tracking/server/app.ts": `import "./store/runs.ts";`,
    "src/tracking/server/store/runs.ts": `import type { Filter } from "../search/filter.ts";`,
    "src/tracking/server/store/row.ts": "",
    "src/tracking/server/search/filter.ts": "",
    "src/tracking/server/search/sql.ts": `import "../store/row.ts";`,
  };

  test("turns red where two folders import each other, though no two files do", () => {
    expect(breachesIn(files)).toEqual([
      "src/tracking/server: search/ and store/ import each other (src/tracking/server/store/runs.ts imports src/tracking/server/search/filter.ts; src/tracking/server/search/sql.ts imports src/tracking/server/store/row.ts)",
    ]);
  });

  test("turns red where a folder imports a file beside it that imports the folder", () => {
    const found = breachesIn({
      "src/pipeline/run.ts": `import "./cache/store.ts";`,
      "src/pipeline/cache/store.ts": "",
      "src/pipeline/cache/link.ts": `import "../run.ts";`,
    });
    expect(found).toEqual([expect.stringMatching(/^src\/pipeline: cache\/ and run\.ts import each other/)]);
  });

  test("turns red where two rooms import each other", () => {
    const found = breachesIn({ "src/a/x.ts": `import "../b/y.ts";`, "src/b/y.ts": "", "src/b/z.ts": `import "../a/x.ts";` });
    expect(found).toEqual([expect.stringMatching(/^src: a\/ and b\/ import each other/)]);
  });

  test("is content where the folders have an order, and where a file starts a worker that imports its types", () => {
    const ordered = { ...files, "src/tracking/server/search/sql.ts": `import "./filter.ts";` };
    expect(breachesIn(ordered)).toEqual([]);
    const worker = {
      "src/train/thread.ts": `export const url: URL = new URL("./steps/train-worker.ts", import.meta.url);`,
      "src/train/steps/train-worker.ts": `import type { Job } from "../thread.ts";`,
    };
    expect(breachesIn(worker)).toEqual([]);
  });

  test("takes an exception for a folder, until it is not needed", () => {
    const known = { ...noExceptions, folderCycles: { "src/tracking/server": "known" } };
    expect(findRoomBreaches(new Map(Object.entries(files)), known)).toEqual([]);
    expect(findRoomBreaches(new Map(), known)).toEqual([
      "the list of folder cycles names src/tracking/server, which does not need it any more",
    ]);
  });
});

test("a folder with 23 files turns red, whatever lies in its subfolders", () => {
  const names = Array.from({ length: 22 }, (_, i) => `src/nn/file-${i}.ts`);
  const full = Object.fromEntries([...names, "src/nn/ops/add.ts"].map((name) => [name, ""]));
  expect(breachesIn(full)).toEqual([]);
  expect(breachesIn({ ...full, "src/nn/more.ts": "" })).toEqual(["src/nn: 23 files: group them, at most 22 lie in one folder"]);
});

describe("the rule about long functions", () => {
  const body = (lines: number): string => "{\n" + "  step();\n".repeat(lines - 2) + "}";

  test.each([
    ["a function", `export function work() ${body(81)}`, "work"],
    ["an arrow function", `export const work = () => ${body(81)};`, "work"],
    ["a method", `class Pool {\n  work() ${body(81)}\n}`, "work"],
    ["a private method", `class Pool {\n  #work() ${body(81)}\n}`, "#work"],
    ["a method of an object", `export const pool = { work() ${body(81)} };`, "work"],
    ["an arrow function in a class", `class Pool {\n  readonly work = () => ${body(81)};\n}`, "work"],
    ["what is handed to a function", `app.get("/", () => ${body(81)});`, "an argument of app.get"],
    ["a function that is exported without a name", `export default () => ${body(81)};`, "a function without a name"],
  ])("turns red at %s of 81 lines", (_, text, name) => {
    expect(breachesIn({ "src/a.ts": text })).toEqual([
      expect.stringMatching(new RegExp(`^src/a\\.ts:\\d: ${RegExp.escape(name)} has 81 lines: split it, at most 80$`)),
    ]);
  });

  test("counts the lines of a function and not those of its class, and leaves 80 alone", () => {
    expect(breachesIn({ "src/a.ts": `class Pool {\n  work() ${body(80)}\n  wait() ${body(80)}\n}` })).toEqual([]);
  });
});

describe("the rule about reads", () => {
  test.each([
    `await readFile(path, "utf8").catch(() => undefined);`,
    `await fs.readFile(path).catch(() => "");`,
    `await readFile(path).catch(function () {});`,
  ])("turns red at %s, also in scripts", (text) => {
    for (const path of ["src/a.ts", "scripts/a.ts"]) {
      expect(breachesIn({ [path]: text })).toEqual([`${path}:1: takes every failure to read for an absent file: use readIfThere`]);
    }
  });

  test("leaves alone who looks at the error, and other promises", () => {
    const text = `await readFile(path).catch((error) => notThere(error));\nawait stop().catch(() => undefined);\nawait readFile(path);`;
    expect(breachesIn({ "src/a.ts": text })).toEqual([]);
  });

  test("allows as many as the list of exceptions has, and requires that list to shrink", () => {
    const files = new Map([["src/a.ts", "await readFile(a).catch(() => 0);\nawait readFile(b).catch(() => 0);"]]);
    const upTo = (count: number): string[] => findRoomBreaches(files, { ...noExceptions, blindReads: { "src/a.ts": count } });
    expect(upTo(2)).toEqual([]);
    expect(upTo(1)).toHaveLength(2);
    expect(upTo(3)).toContain("the list of blind reads names more of them in src/a.ts than there are");
  });
});

test("a permission that no file of the folder uses turns red", () => {
  const table = { serve: ["model", "config/env", "http"], cli: ["*"] };
  const files = new Map([
    ["serve/app.ts", `import type { Bundle } from "../model/bundle.ts";`],
    ["serve/http/routes.ts", `import { settings } from "../../config/env.ts";`],
    ["cli/main.ts", `import "../http/client.ts";`],
  ]);
  expect(findUnusedPermissions(files, table)).toEqual(["serve -> http"]);
});
