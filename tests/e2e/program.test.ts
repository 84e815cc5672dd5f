import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { mustRun } from "../helpers/pattern-project.ts";
import { patternPicture, writePatternSet } from "../helpers/pattern-set.ts";

/** The program of the page: the package by its name, and one call for each verb. */
const page = await readFile(join(import.meta.dirname, "../../docs/api.md"), "utf8");
const program = /^```js\n(.*?)^```$/ms.exec(page)?.[1] ?? "";

const params = `
data:
  source: patterns
prepare:
  width: 32
  height: 32
train:
  channels: [16, 16, 16, 16]
  cropSize: 32
  sizes: [32]
  batchSize: 8
  epochs: 8
  threads: 1
model:
  name: patterns
`;

interface Report {
  readonly best: { dir: string; version: string };
  readonly tracking: { delivered: boolean; server: string; page: string };
  readonly metrics: { count: number; accuracy: number };
  readonly answer: { label: string; model: { name: string; version: string } };
}

let dir: string;
let report: Report;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-program-"));
  await writePatternSet(join(dir, "patterns"), ["checks", "rows"]);
  await writeFile(join(dir, "picture.jpg"), await patternPicture("rows", 500, "rgb"));
  await writeFile(join(dir, "params.yaml"), params);
  // What `npm install PATH/TO/serval` leaves: a link.
  await mkdir(join(dir, "node_modules"));
  await symlink(join(import.meta.dirname, "../.."), join(dir, "node_modules/serval"), "dir");
  await writeFile(join(dir, "program.mjs"), program);
  const { stdout } = await promisify(execFile)(process.execPath, ["program.mjs"], { cwd: dir });
  report = JSON.parse(stdout) as Report;
}, 240_000);
afterAll(async () => await rm(dir, { recursive: true, force: true }));

test("the program of docs/api.md imports, trains, evaluates and serves through the package's functions, and says nothing else", async () => {
  const { best, metrics, answer } = report;
  expect(metrics.accuracy).toBeGreaterThan(0.6);
  expect(answer.model).toEqual({ name: "patterns", version: best.version });
  expect(["checks", "rows"]).toContain(answer.label);
  const written = JSON.parse(await readFile(join(dir, "artifacts/evaluation/metrics.json"), "utf8")) as Report["metrics"];
  expect(written).toMatchObject({ model: { name: "patterns" }, data: { split: "test" }, accuracy: metrics.accuracy });
});

test("its training is logged to the embedded store, and its look at the test split is recorded, as by the verbs", async () => {
  expect(report.tracking).toMatchObject({ delivered: true, server: join(".serval", "tracking") });
  expect(await readFile(join(dir, ".serval/accuracy.md"), "utf8")).toContain(report.best.version);
});

test("`serval train` in the same folder gives the same model, as another run", async () => {
  const again = JSON.parse((await mustRun(dir, ["train", "--json"])).stdout) as Report;
  expect(again.best.version).toBe(report.best.version);
  expect(again.tracking).toMatchObject({ delivered: true, server: join(".serval", "tracking") });
  expect(again.tracking.page).not.toBe(report.tracking.page);
});

test("docs/api.md names only functions that the package exports", async () => {
  const named = [...page.matchAll(/`([a-z]+[A-Z]\w+)`/g)].map(([, name]) => name as string);
  expect(named.length).toBeGreaterThan(25);
  const api = (await import("../../src/index.ts")) as Readonly<Record<string, unknown>>;
  expect(named.filter((name) => typeof api[name] !== "function")).toEqual([]);
});
