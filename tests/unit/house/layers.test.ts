import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { findBreaches, findCycles, layers } from "./rules.ts";

const srcDir = join(import.meta.dirname, "../../../src");

function readSources(): Map<string, string> {
  const names = readdirSync(srcDir, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  return new Map(names.sort().map((name) => [name.replaceAll("\\", "/"), readFileSync(join(srcDir, name), "utf8")]));
}

/** Breaches in a made-up src/ of these files, beside errors/serval-error.ts and one file for each folder. */
function breachesIn(files: Readonly<Record<string, string>>): string[] {
  const base = Object.keys(layers).map((folder): [string, string] => [`${folder}/thing.ts`, "export const thing: number = 1;"]);
  return findBreaches(new Map([["errors/serval-error.ts", ""], ["files.ts", ""], ...base, ...Object.entries(files)]));
}

describe("the sources in src/", () => {
  test("keep the layer table and the other house rules", () => {
    const sources = readSources();
    expect(sources.size).toBeGreaterThan(20);
    expect(findBreaches(sources)).toEqual([]);
  });
});

describe("the layer rule", () => {
  test.each([
    ["a value import", `import { thing } from "../train/thing.ts";`],
    ["a type import", `import type { Thing } from "../train/thing.ts";`],
    ["an inline type import", `import { type Thing } from "../train/thing.ts";`],
    ["an import for its effects", `import "../train/thing.ts";`],
    ["a re-export", `export { thing } from "../train/thing.ts";`],
    ["a re-export of everything", `export * from "../train/thing.ts";`],
    ["a type re-export", `export type { Thing } from "../train/thing.ts";`],
    ["a dynamic import", `export const load = (): Promise<unknown> => import("../train/thing.ts");`],
    ["an import type", `export type Thing = import("../train/thing.ts").Thing;`],
    ["a worker loaded by URL", `export const url: URL = new URL("../train/thing.ts", import.meta.url);`],
    ["a worker whose ending is computed", "export const url: URL = new URL(`../train/thing${extname(import.meta.url)}`, import.meta.url);"],
    ["an import spread over lines", `import {\n  thing,\n} from\n  "../train/thing.ts";`],
  ])("turns red at %s of a folder that is not allowed", (_, text) => {
    const found = breachesIn({ "serve/app.ts": `${text}\nexport const own: number = 1;` });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^serve\/app\.ts:\d: serve may not import train \(\.\.\/train\/thing\.ts\)$/);
  });

  test("does not take `declare module` for work at import time", () => {
    expect(breachesIn({ "serve/app.ts": `declare module "fastify" {}` })).toEqual([]);
  });

  test("allows what the table allows, and ignores imports in comments and strings", () => {
    const text = `
      import { thing } from "../model/thing.ts";
      import { fail } from "../errors/serval-error.ts";
      import { writeFileAtomic } from "../files.ts";
      // import { thing } from "../train/thing.ts";
      export const note: string = 'import { thing } from "../train/thing.ts"';`;
    expect(breachesIn({ "serve/app.ts": text })).toEqual([]);
  });

  test("lets workflows import every other room, and no room the command line", () => {
    expect(breachesIn({ "workflows/train.ts": `import "../train/thing.ts";\nimport "../serve/thing.ts";` })).toEqual([]);
    expect(breachesIn({ "cli/verb.ts": `import "../workflows/thing.ts";` })).toEqual([]);
    expect(breachesIn({ "workflows/train.ts": `import "../cli/thing.ts";` })).toEqual([
      "workflows/train.ts:1: workflows may not import cli (../cli/thing.ts)",
    ]);
  });

  test("refuses a module name that is computed, or that does not exist", () => {
    expect(
      breachesIn({ "serve/app.ts": "export const load = (name: string): Promise<unknown> => import(`../train/${name}.ts`);" }),
    ).toEqual(["serve/app.ts:1: the imported module is <computed `../train/${name}.ts`>, which cannot be checked"]);
    expect(breachesIn({ "serve/app.ts": `import "./gone.ts";` })).toEqual(["serve/app.ts:1: ./gone.ts does not exist"]);
  });

  test("lets registry import the tracking client, and neither the rest of tracking nor the client the server", () => {
    const tracking = { "tracking/client/run.ts": "", "tracking/server/app.ts": "" };
    expect(breachesIn({ ...tracking, "registry/log.ts": `import "../tracking/client/run.ts";` })).toEqual([]);
    expect(breachesIn({ ...tracking, "registry/log.ts": `import "../tracking/server/app.ts";` })).toHaveLength(1);
    expect(breachesIn({ ...tracking, "tracking/client/run.ts": `import "../server/app.ts";` })).toEqual([
      "tracking/client/run.ts:1: tracking may not import tracking (../server/app.ts)",
    ]);
  });

  test("keeps errors/ and files.ts at the bottom and index.ts at the top", () => {
    expect(breachesIn({ "errors/serval-error.ts": `import "../config/thing.ts";` })).toEqual([
      "errors/serval-error.ts:1: errors may not import config (../config/thing.ts)",
    ]);
    expect(breachesIn({ "errors/tables/data.ts": `import "../serval-error.ts";` })).toEqual([]);
    expect(breachesIn({ "errors/tables/data.ts": `import "../../files.ts";` })).toHaveLength(1);
    expect(breachesIn({ "files.ts": `import "./errors/serval-error.ts";` })).toEqual([]);
    expect(breachesIn({ "index.ts": `export * from "./train/thing.ts";`, "train/a.ts": `import "../index.ts";` })).toEqual([
      "train/a.ts:1: train may not import index.ts (../index.ts)",
    ]);
    expect(breachesIn({ "index.ts": "export const more: number = 1;" })).toEqual([
      "index.ts:1: index.ts only re-exports: export const more: number = 1;",
    ]);
  });
});

describe("the cycle rule", () => {
  test("turns red when files import each other, and when only types do", () => {
    const files = {
      "nn/a.ts": `import type { B } from "./b.ts";`,
      "nn/b.ts": `import type { C } from "./c.ts";`,
      "nn/c.ts": `import { a } from "./a.ts";`,
    };
    expect(breachesIn(files)).toEqual(["nn/a.ts:1: cycle nn/a.ts -> nn/b.ts -> nn/c.ts -> nn/a.ts"]);
  });

  test("treats a worker as a separate program, which may import the types of the file that starts it", () => {
    const files = {
      "train/thread.ts": `export const url: URL = new URL("./work-worker.ts", import.meta.url);`,
      "train/work-worker.ts": `import type { Job } from "./thread.ts";\nwork();`,
    };
    expect(breachesIn(files)).toEqual([]);
  });

  test("finds a file that imports itself, and no cycle where two ways lead to one file", () => {
    expect(findCycles(new Map([["a", ["a"]]]))).toEqual([["a", "a"]]);
    const diamond = new Map([
      ["a", ["b", "c"]],
      ["b", ["d"]],
      ["c", ["d"]],
      ["d", []],
    ]);
    expect(findCycles(diamond)).toEqual([]);
  });
});

describe("the ownership rules", () => {
  test.each([
    [`import sharp from "sharp";`, "data/x.ts:1: only image/ imports sharp"],
    [`import type { Sharp } from "sharp";`, "data/x.ts:1: only image/ imports sharp"],
    [`import * as ort from "onnxruntime-node";`, "data/x.ts:1: only runtime/onnxruntime.ts imports onnxruntime-node"],
    [`import { Command } from "commander";`, "data/x.ts:1: only cli/ imports commander"],
    [`import { parse, stringify } from "yaml";`, "data/x.ts:1: only config/yaml.ts parses YAML, within limits (parse)"],
    [`import * as yaml from "yaml";`, "data/x.ts:1: only config/yaml.ts parses YAML, within limits (* as yaml)"],
    [`export const a = (): unknown => process.env.HOME;`, "data/x.ts:1: process.env belongs to config/env.ts"],
    [`export const a = (): unknown => process["env"];`, "data/x.ts:1: process.env belongs to config/env.ts"],
    [`export const a = (): unknown => globalThis.process.env;`, "data/x.ts:1: process.env belongs to config/env.ts"],
    [`const { env: e } = process;`, "data/x.ts:1: process.env belongs to config/env.ts"],
    [`const p = process;`, "data/x.ts:1: process.alias belongs to no file: write process.x"],
    [`import { env } from "node:process";`, "data/x.ts:1: process.import belongs to no file: use the global process"],
    [`export const a = (): void => process.exit(1);`, "data/x.ts:1: process.exit belongs to cli/main.ts"],
    [`export const a = (): never => { throw new Error("no"); };`, "data/x.ts:1: new Error: use ServalError with a code"],
    [`export const a = (): never => { throw Error("no"); };`, "data/x.ts:1: new Error: use ServalError with a code"],
    [`export const a = (): void => console.log("hello");`, "data/x.ts:1: console.log: commands print through Output, servers log"],
    [`start();`, "data/x.ts:1: work at import time: start();"],
    [`export const a = join(cwd, "data/raw");`, 'data/x.ts:1: "data/raw" is a path of the working folder: paths.ts has its name'],
    ["export const a = `params.yaml`;", 'data/x.ts:1: "params.yaml" is a path of the working folder: paths.ts has its name'],
    [`/** The best pictures of dogs. */`, "data/x.ts:1: src/ knows nothing about a dogs"],
  ])("turn red at %s", (text, breach) => {
    expect(breachesIn({ "data/x.ts": text })).toEqual([breach]);
  });

  test("let the owners do it", () => {
    const files = {
      "image/decode.ts": `import sharp from "sharp";`,
      "runtime/onnxruntime.ts": `import ort from "onnxruntime-node";`,
      "config/env.ts": "export const read = (): unknown => process.env;",
      "cli/main.ts": "process.exit(0);",
      "data/sources/sample.ts": "/** Draws cats and dogs. */",
      "runtime/start.ts": `export const url: URL = new URL("./inference-worker.ts", import.meta.url);`,
      "runtime/inference-worker.ts": "listen();",
    };
    expect(breachesIn(files)).toEqual([]);
  });

  test("turn red at a name that says nothing, at a second barrel and at a folder outside the table", () => {
    expect(breachesIn({ "data/utils.ts": "" })).toEqual(["data/utils.ts:1: utils says nothing about what is inside"]);
    expect(breachesIn({ "data/all.ts": `export * from "./thing.ts";` })).toEqual(["data/all.ts:1: src/index.ts is the only barrel"]);
    expect(breachesIn({ "data/readShards.ts": "" })).toEqual(["data/readShards.ts:1: readShards is not kebab-case"]);
    expect(breachesIn({ "extra/a.ts": "" })).toEqual(["extra/a.ts:1: the folder extra is not in the layer table"]);
    expect(breachesIn({ "loose.ts": "" })).toEqual([
      "loose.ts:1: only index.ts, paths.ts, text.ts, files.ts, random.ts and safe-path.ts lie directly in src/",
    ]);
    expect(breachesIn({ "cli/commands/long.ts": "\n".repeat(81) })).toEqual([
      "cli/commands/long.ts:1: 81 lines: a verb is options, one call of a workflow and printing, in at most 80",
    ]);
    expect(breachesIn({ "data/long.ts": "\n".repeat(401) })).toEqual([
      "data/long.ts:1: 401 lines: split it, or give a reason in longFiles",
    ]);
  });
});
