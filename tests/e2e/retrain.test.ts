import { execFile } from "node:child_process";
import { appendFile, chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { ShardIndex } from "../../src/data/shard-index.ts";
import { readPredictions, type Prediction } from "../../src/registry/predictions.ts";
import type { RetrainVerdict } from "../../src/workflows/project/retrain-report.ts";
import { editParams, mustRun } from "../helpers/pattern-project.ts";
import { writePatternSet } from "../helpers/pattern-set.ts";

// Two trainings and a dozen commands, which a busy machine takes its time for.
vi.setConfig({ testTimeout: 240_000 });
const repository = join(import.meta.dirname, "../..");
let dir: string;
let cwd: string;
const at = (path: string): string => join(cwd, path);

/** Runs a program in the working repository and returns its stdout; a failure shows all that it printed. */
async function run(program: string, ...args: readonly string[]): Promise<string> {
  const path = [join(dir, "bin"), dirname(process.execPath), process.env["PATH"]].join(delimiter);
  const { stdout } = await promisify(execFile)(program, args, { cwd, env: { ...process.env, PATH: path, NO_UPDATE_NOTIFIER: "1" } }).catch(
    (error: Error & { stdout?: string; stderr?: string }) => {
      throw new Error(`${program} ${args.join(" ")} failed:\n${error.stdout ?? ""}\n${error.stderr ?? error.message}`);
    },
  );
  return stdout.trim();
}
const git = async (...args: string[]): Promise<string> =>
  await run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", ...args);
const retrain = async (): Promise<string> => await run(process.execPath, join(repository, "scripts/retrain.ts"));
const report = async (): Promise<string> => await readFile(at("reports/retrain/report.md"), "utf8");

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-retrain-"));
  cwd = join(dir, "work");
  // What `npm install PATH/TO/serval` leaves: a link, and the command.
  await mkdir(at("node_modules/.bin"), { recursive: true });
  await symlink(repository, at("node_modules/serval"), "dir");
  await symlink("../serval/src/cli/main.ts", at("node_modules/.bin/serval"));
  await writePatternSet(at("patterns"));
  await mustRun(cwd, ["init", "--name", "patterns"]);
  await editParams(cwd, {
    width: "32",
    height: "32",
    channels: "[16, 16, 16, 16]",
    cropSize: "32",
    sizes: "[32]",
    batchSize: "8",
    epochs: "6",
  });
  await writeFile(at(".dvc/config"), `[core]\n    remote = team\n['remote "team"']\n    url = ${join(dir, "remote")}\n`);
  // In place of GitHub's command: keeps what it is asked.
  await mkdir(join(dir, "bin"));
  await writeFile(
    join(dir, "bin/gh"),
    `#!/bin/sh\nfor arg; do echo "$arg"; if [ -f "$arg" ]; then cat "$arg"; fi; done > ${join(dir, "asked")}\n`,
  );
  await chmod(join(dir, "bin/gh"), 0o755);
  await git("init", "--quiet", "--initial-branch", "main");
  await git("init", "--quiet", "--bare", join(dir, "origin.git"));
  await git("remote", "add", "origin", join(dir, "origin.git"));
  await git("add", "--all");
  await git("commit", "--quiet", "--message", "set up");
});
afterAll(async () => await rm(dir, { recursive: true }));

test("the first model is released, its data is on the remote, and the report has its metrics and pictures", async () => {
  await retrain();
  const text = await report();
  expect(text).toMatch(/^# patterns, trained again\n\n\*\*Released\.\*\* It is the first model/);
  expect(text).toMatch(/\| accuracy \| {2}\| [\d.]+ \| {2}\|/);
  expect(text).toContain("![confusion matrix](confusion-matrix.png)");
  expect(await readdir(at("reports/retrain"))).toEqual(expect.arrayContaining(["confusion-matrix.png", "report.md", "verdict.json"]));
  expect(await readdir(at("models/patterns"))).toContain("bundle.json");
  // What was said about single pictures stays with the training.
  expect(await readdir(at("artifacts/best"))).toContain("validation.jsonl");
  expect(await readdir(at("models/patterns"))).not.toContain("validation.jsonl");
  expect((await readdir(join(dir, "remote"), { recursive: true })).length).toBeGreaterThan(100);

  await run(join(repository, "scripts/open_pull_request.sh"), "retrain-1", "https://example.com/someone/patterns");
  const asked = await readFile(join(dir, "asked"), "utf8");
  expect(asked).toMatch(
    /^pr\ncreate\n--base\nmain\n--head\nretrain-1\n--title\npatterns, trained again: as good as the released one or better\n/,
  );
  expect(asked).not.toContain("--draft");
  const commit = await git("rev-parse", "HEAD");
  expect(asked).toContain(`![confusion matrix](https://example.com/someone/patterns/raw/${commit}/reports/retrain/confusion-matrix.png)`);
  expect(await git("--git-dir", join(dir, "origin.git"), "rev-parse", "retrain-1")).toBe(commit);
  const proposed = (await git("show", "--name-only", "--format=", "HEAD")).split("\n");
  expect(proposed).toEqual(expect.arrayContaining(["dvc.lock", "models/patterns/model.onnx", "reports/retrain/report.md"]));
  await git("switch", "--quiet", "main");
  await git("merge", "--quiet", "retrain-1");
});

test("a training writes down what its model says about the validation pictures, as an evaluation finds it", async () => {
  await mustRun(cwd, ["evaluate", "--split", "val", "--model", "artifacts/best"]);
  const read = async (path: string): Promise<Prediction[]> => await readPredictions(at(path));
  expect(await read("artifacts/best/validation.jsonl")).toEqual(await read("artifacts/evaluation-val/predictions.jsonl"));
});

test("where nothing changed nothing is proposed, in a fresh clone with the remote's data", async () => {
  for (const path of ["data", "artifacts", ".dvc/cache", ".serval"]) await rm(at(path), { recursive: true });
  expect(await retrain()).toBe("Nothing was due: the model is that of the data and the parameters.");
  expect(await run(join(repository, "scripts/open_pull_request.sh"), "retrain-2", "https://example.com/x")).toContain("nothing to propose");
  expect(await git("branch", "--show-current")).toBe("main");
});

test("a worse model is reported and not released: the pull request is a draft", async () => {
  const released = await readFile(at("models/patterns/bundle.json"), "utf8");
  await editParams(cwd, { epochs: "1", learningRate: "0.0000001" });
  await git("commit", "--quiet", "--all", "--message", "learn nothing");
  await retrain();
  const text = await report();
  expect(text).toMatch(
    /\*\*Not released\.\*\* The released one stays: on the validation split, of the new one its accuracy is \d+\.\d\d points lower\./,
  );
  for (const [heading, split] of [
    ["Validation split, which decided", "validation"],
    ["Test split, which decided nothing", "test"],
  ] as const) {
    const part = text.split(`## ${heading}\n`)[1]?.split("\n## ")[0];
    expect(part).toMatch(/\| released \| [\d.]+ % \| \d+ \|\n\| new \| [\d.]+ % \| \d+ \|/);
    expect(part).toMatch(new RegExp(`\\d+ ${split} images\\. Difference`));
  }
  const { reason, comparison } = JSON.parse(await readFile(at("reports/retrain/verdict.json"), "utf8")) as RetrainVerdict;
  const { splits } = JSON.parse(await readFile(at("data/processed/index.json"), "utf8")) as ShardIndex;
  expect(comparison?.images).toBe(splits.val.rows.length);
  expect(reason).toContain(`${(-100 * (comparison?.difference ?? 0)).toFixed(2)} points lower`);
  expect(await readFile(at("models/patterns/bundle.json"), "utf8")).toBe(released);
  await run(join(repository, "scripts/open_pull_request.sh"), "retrain-3", "https://example.com/x");
  expect(await readFile(join(dir, "asked"), "utf8")).toMatch(/the released one stays\n[\s\S]*--draft\n$/);
});

test("where the released model knows other pictures, the report says that it was not compared, and why", async () => {
  const released = await readFile(at("models/patterns/bundle.json"), "utf8");
  await editParams(cwd, { kernel: "linear" });
  await git("commit", "--quiet", "--all", "--message", "scale in another way");
  await retrain();
  expect(await report()).toMatch(
    /\*\*Not released\.\*\* It was not compared with the released one: E_MODEL_DATA: .* trained with kernel lanczos3/,
  );
  expect(await readFile(at("models/patterns/bundle.json"), "utf8")).toBe(released);
});

test("a released model that is damaged ends it with that error, and no report calls it a verdict", async () => {
  await editParams(cwd, { kernel: "lanczos3" });
  await git("commit", "--quiet", "--all", "--message", "scale as before");
  await appendFile(at("models/patterns/model.onnx"), "x");
  await expect(retrain()).rejects.toThrow(/E_BUNDLE_CORRUPT: .*model\.onnx/);
  await expect(report()).rejects.toMatchObject({ code: "ENOENT" });
});
