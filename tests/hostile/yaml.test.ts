import { execFileSync } from "node:child_process";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseParams } from "../../src/config/params.ts";
import { parsePlainYaml } from "../../src/config/yaml.ts";
import type { ServalError } from "../../src/errors/serval-error.ts";
import { parseDataFile } from "../../src/pipeline/dvc-files/data-file.ts";
import { readTrackedOuts } from "../../src/pipeline/dvc-files/tracked-outs.ts";
import { parsePipeline } from "../../src/pipeline/dvc-files/dvc-yaml.ts";
import { parseLock } from "../../src/pipeline/dvc-files/lock-file.ts";
import { parseDataText } from "../../src/pipeline/dvc-files/data-text.ts";
import { runServal } from "../helpers/serval-process.ts";

// Without limits most of these take minutes, or all memory. Time of the processor, because other tests may be running.
const limitMs = 1500;

/** What an attempt ends in, and whether that came too late. */
function refusal(attempt: () => unknown): string {
  const before = process.cpuUsage();
  try {
    attempt();
  } catch (error) {
    const { user, system } = process.cpuUsage(before);
    const { code, message } = error as ServalError;
    return `${user + system > limitMs * 1000 ? "Too late, " : ""}${code}: ${message}`;
  }
  throw new Error("It was accepted.");
}

function expectRefusal(attempt: () => unknown, message: RegExp): void {
  const text = refusal(attempt);
  expect(text).toMatch(message);
  expect(text).not.toContain("Too late");
}

/** Nine levels, each of ten aliases of the level below: a thousand million values in half a kilobyte. */
function bomb(item: (level: number) => string, levels = 9): string {
  return Array.from({ length: levels }, (_, i) => `l${i}: &l${i} ${i === 0 ? "[x, x, x, x, x, x, x, x, x, x]" : item(i - 1)}\n`).join("");
}
const listBomb = bomb((level) => `[${Array.from({ length: 10 }, () => `*l${level}`).join(", ")}]`);
const mapBomb = bomb((level) => `{${Array.from({ length: 10 }, (_, i) => `k${i}: *l${level}`).join(", ")}}`);
const mergeBomb = bomb((level) => `{<<: *l${level}, ${Array.from({ length: 10 }, (_, i) => `k${level}${i}: *l${level}`).join(", ")}}`);

const aliases = /with its aliases written out this holds more than 2000000 values/;
const depth = /lists and mappings lie more than 100 deep inside each other/;
const attacks: readonly (readonly [name: string, text: string, message: RegExp])[] = [
  ["aliases of aliases in lists", listBomb, aliases],
  ["aliases of aliases in mappings", mapBomb, aliases],
  ["aliases of aliases in merge keys", mergeBomb, aliases],
  ["a long list and many aliases of it", `a: &a [${"x, ".repeat(10_000)}x]\nb: [${"*a, ".repeat(10_000)}*a]\n`, aliases],
  ["an alias of what it is in", "a: &a [1, *a]\n", /:1: the alias \*a is inside its own anchor/],
  ["an alias without an anchor", "a: 1\nb: *nothing\n", /:2: the alias \*nothing comes before its anchor/],
  ["a million lists inside each other", `a: ${"[".repeat(1e6)}`, depth],
  ["a million mappings inside each other", `a: ${"{a: ".repeat(1e6)}`, depth],
  ["a million list items on a line", "- ".repeat(1e6), depth],
  ["a million explicit keys on a line", "? ".repeat(1e6), depth],
  ["a thousand steps of indentation", Array.from({ length: 1000 }, (_, i) => `${" ".repeat(i)}a:\n`).join(""), depth],
  ["four million items", "- a\n".repeat(3_999_999), /the file has more than 2000000 pieces of YAML/],
  ["17 million characters", `a: ${"x".repeat(17_000_000)}`, /expected at most 16000000 characters of YAML, got 17000003/],
  ["a mistake at each of 100,000 places", `[${"}".repeat(100_000)}`, /:1: /],
  ["an alias at each of 100,000 places", "*a ".repeat(100_000), /:1: /],
];

const readers: readonly (readonly [file: string, read: (text: string) => unknown])[] = [
  ["params.yaml", parseParams],
  ["dvc.yaml", (text) => parsePipeline(text, "dvc.yaml", () => undefined)],
  ["dvc.lock", (text) => parseLock(text, "dvc.lock")],
  ["dvc.lock, for its outs", (text) => readTrackedOuts("dvc.lock", () => text)],
  ["a .dvc file", (text) => parseDataFile(text, "a.dvc")],
  ["metrics and values", (text) => parseDataText(text, "metrics.json")],
  ["a compose file", (text) => parsePlainYaml(text, "docker-compose.yml", "E_DEPLOY_NOT_READY")],
];

test.each(attacks)("YAML with %s is refused within a second", (_, text, message) => {
  expectRefusal(() => parsePlainYaml(text, "any.yaml", "E_DVC_FILE"), message);
});

// The rules of the house let nothing else parse YAML; these see that it is asked.
test.each(readers)("%s may not hold aliases of aliases", (_, read) => {
  for (const text of [listBomb, mapBomb, mergeBomb]) expectRefusal(() => read(text), aliases);
});

describe("values that multiply in dvc.yaml", () => {
  const parse = (text: string) => () => parsePipeline(text, "dvc.yaml", () => undefined);

  test("by a matrix of many lists", () => {
    const axes = Array.from({ length: 10 }, (_, i) => `      a${i}: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n`).join("");
    expectRefusal(
      parse(`stages:\n  s:\n    matrix:\n${axes}    cmd: echo\n`),
      /E_PIPELINE: dvc\.yaml:\d+: stages\.s\.matrix: expected at most 100000 combinations, got 10000000000/,
    );
  });

  test("by a long text in many places, or in many stages", () => {
    const long = `vars:\n- s: ${"x".repeat(1_000_000)}\n`;
    const message = /E_PIPELINE: .*the \$\{\} of this file make more than 50000000 values and characters/;
    expectRefusal(parse(`${long}stages:\n  s:\n    cmd: echo ${"${s}".repeat(1000)}\n`), message);
    const items = [...Array(1000).keys()].join(", ");
    expectRefusal(parse(`${long}stages:\n  s:\n    foreach: [${items}]\n    do:\n      cmd: echo \${s}\n`), message);
  });
});

test("10,000 stages load, aliases and merge keys included", () => {
  const md5 = "0123456789abcdef".repeat(2);
  const stage = (i: number): string =>
    `  s${i}:\n    cmd: train ${i}\n    deps: [in/${i}]\n    outs:\n    - out/${i}:\n        <<: *options\n`;
  const yaml = `vars:\n- options: &options\n    cache: false\nstages:\n${Array.from({ length: 10_000 }, (_, i) => stage(i)).join("")}`;
  const entry = (i: number): string =>
    `  s${i}:\n    cmd: train ${i}\n    outs:\n    - path: out/${i}\n      hash: md5\n      md5: ${md5}\n`;
  const lock = `schema: '2.0'\nstages:\n${Array.from({ length: 10_000 }, (_, i) => entry(i)).join("")}`;
  const { stages } = parsePipeline(yaml, "dvc.yaml", () => undefined);
  expect([stages.length, stages.at(-1)?.outs[0]?.path, stages.at(-1)?.outs[0]?.cache]).toEqual([10_000, "out/9999", false]);
  expect(parseLock(lock, "dvc.lock").get("s9999")?.outs[0]?.md5).toBe(md5);
});

describe("serval status", () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "serval-yaml-"));
    await writeFile(join(dir, "dvc.yaml"), "stages:\n  a:\n    cmd: echo a > a\n    outs: [a]\n");
  });
  afterEach(async () => await rm(dir, { recursive: true }));

  test("refuses a params.yaml of aliases, and one that is a device or a pipe", async () => {
    const params = join(dir, "params.yaml");
    await writeFile(params, listBomb);
    expect(await runServal(dir, ["status"])).toMatchObject({ code: 2, stderr: expect.stringMatching(aliases) });
    await rm(params);
    await symlink("/dev/zero", params);
    const notFile = expect.stringContaining("expected a file of at most 32000000 bytes, got a device or pipe");
    expect(await runServal(dir, ["status"])).toMatchObject({ code: 2, stderr: notFile });
    await rm(params);
    execFileSync("mkfifo", [params]);
    expect(await runServal(dir, ["status"])).toMatchObject({ code: 2, stderr: notFile });
  });
});
