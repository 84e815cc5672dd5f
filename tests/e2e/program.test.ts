import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { mustRun } from "../helpers/pattern-project.ts";
import { patternPicture, writePatternSet } from "../helpers/pattern-set.ts";

/** What a program of a user looks like: the package by its name, and one call for each verb. */
const program = `
import { openAsBlob } from "node:fs";
import { evaluateModel, importData, prepareData, serveModel, trainModel } from "serval";
const cwd = import.meta.dirname;
const { counts } = await importData({ cwd });
await prepareData({ cwd });
const trained = await trainModel({ cwd });
const evaluated = await evaluateModel({ cwd });
const service = await serveModel({ cwd, settings: { port: 0, logLevel: "silent" } });
const body = new FormData();
body.append("file", await openAsBlob("picture.jpg"));
const answer = await (await fetch(\`\${service.url}/predict\`, { method: "POST", body })).json();
await service.close();
console.log(JSON.stringify({ counts, trained, evaluated, answer }));
`;

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
  readonly counts: Readonly<Record<string, number>>;
  readonly trained: { run: string; best: { dir: string; version: string }; tracking: { delivered: boolean; server: string } };
  readonly evaluated: { model: { name: string }; data: { split: string }; metrics: { count: number; accuracy: number }; look: unknown };
  readonly answer: { label: string; model: { name: string; version: string } };
}

let dir: string;
let report: Report;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-program-"));
  await writePatternSet(join(dir, "patterns"), ["checks", "rows"]);
  await writeFile(join(dir, "picture.jpg"), await patternPicture("rows", 500, "rgb"));
  await writeFile(join(dir, "params.yaml"), params);
  // What \`npm install PATH/TO/serval\` leaves: a link.
  await mkdir(join(dir, "node_modules"));
  await symlink(join(import.meta.dirname, "../.."), join(dir, "node_modules/serval"), "dir");
  await writeFile(join(dir, "program.mjs"), program);
  const { stdout } = await promisify(execFile)(process.execPath, ["program.mjs"], { cwd: dir });
  report = JSON.parse(stdout) as Report;
}, 240_000);
afterAll(async () => await rm(dir, { recursive: true, force: true }));

test("a program of a dozen lines imports, trains, evaluates and serves through the package's functions, and says nothing else", async () => {
  const { counts, trained, evaluated, answer } = report;
  expect(counts).toEqual({ checks: 36, rows: 28 });
  expect(evaluated).toMatchObject({ model: { name: "patterns" }, data: { split: "test" } });
  expect(evaluated.metrics.accuracy).toBeGreaterThan(0.6);
  expect(answer.model).toEqual({ name: "patterns", version: trained.best.version });
  expect(["checks", "rows"]).toContain(answer.label);
  expect(await readFile(join(dir, "artifacts/evaluation/metrics.json"), "utf8")).toContain('"name": "patterns"');
});

test("its training is logged to the embedded store, and its look at the test split is recorded, as by the verbs", async () => {
  expect(report.trained.tracking).toMatchObject({ delivered: true, server: join(".serval", "tracking") });
  expect(report.evaluated.look).toMatchObject({ added: true });
});

test("`serval train` in the same folder gives the same model, as another run of the same experiment", async () => {
  const again = JSON.parse((await mustRun(dir, ["train", "--json"])).stdout) as Report["trained"];
  expect(again.best.version).toBe(report.trained.best.version);
  expect(again.run).not.toBe(report.trained.run);
  expect(again.tracking).toMatchObject({ delivered: true, server: join(".serval", "tracking") });
});
