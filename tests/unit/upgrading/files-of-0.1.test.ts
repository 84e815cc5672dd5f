import { cp, mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { runCli } from "../../../src/cli/main.ts";
import { loadParams, paramsHash } from "../../../src/config/params.ts";
import { loadBundle } from "../../../src/model/bundle.ts";
import { PredictionLog } from "../../../src/predictions/prediction-log.ts";
import { parseLock } from "../../../src/pipeline/dvc-files/lock-file.ts";
import { loggedPrediction } from "../../helpers/logged-prediction.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";

/** Files that version 0.1.0 wrote, of a project with the drawn sample. Every later version reads them. */
const fixtures = join(import.meta.dirname, "../../fixtures/0.1");
const picture = join(import.meta.dirname, "../../../test_image.jpg");

interface Answer {
  readonly probabilities: Readonly<Record<string, number>>;
}

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-0.1-"));
  const made = dir;
  onTestFinished(async () => await rm(made, { recursive: true, force: true }));
  await cp(fixtures, dir, { recursive: true });
  await mkdir(join(dir, ".serval"));
  await rename(join(dir, "tracking"), join(dir, ".serval/tracking"));
});

async function serval<T>(...args: string[]): Promise<T> {
  const context = recordedContext(dir);
  const code = await runCli([...args, "--json"], context);
  expect(code, context.stderr.text).toBe(0);
  return JSON.parse(context.stdout.text) as T;
}

test("the bundle of 0.1 is read, has the same digest, and gives the answers that it gave then", async () => {
  const { digest, manifest } = await loadBundle(join(dir, "bundle"));
  expect([digest.slice(0, 12), manifest.formatVersion, manifest.name]).toEqual(["bd627d405197", 1, "fixture"]);
  // Its known answers are checked, and this picture had 0.49159592390060425 in 0.1.0.
  const released = await serval<{ version: string; checks: number }>("models", "release", "bundle");
  expect(released).toMatchObject({ version: "bd627d405197", checks: manifest.checks.length });
  const [answer] = await serval<Answer[]>("predict", picture, "--model", "bundle");
  expect(answer?.probabilities["cat"]).toBeCloseTo(0.491596, 3);
});

test("params.yaml of 0.1 means what it meant: the bundle of its training has the same hash", async () => {
  const { manifest } = await loadBundle(join(dir, "bundle"));
  expect(paramsHash(await loadParams(dir))).toBe(manifest.paramsHash);
});

test("dvc.lock of 0.1 names its four stages with what they read and wrote", async () => {
  const lock = parseLock(await readFile(join(dir, "dvc.lock"), "utf8"), "dvc.lock");
  expect([...lock.keys()]).toEqual(["download_data", "preprocess_data", "train_model", "evaluate_model"]);
  expect(lock.get("download_data")?.outs).toMatchObject([{ path: "data/raw", md5: "1ffd0fbb13fee29dd66a58003ba90723.dir", nfiles: 721 }]);
  expect(lock.get("train_model")?.params.get("params.yaml")?.get("model")).toBeDefined();
});

test("predictions.db of 0.1 takes feedback for what it holds, and stays a file that 0.1 can write", async () => {
  const path = join(dir, "predictions.db");
  const old = new DatabaseSync(path);
  onTestFinished(() => old.close());
  const schema = (): unknown =>
    old.prepare("select name, sql from sqlite_master where tbl_name in ('predictions', 'feedback') order by name").all();
  const before = schema();
  const warnings: string[] = [];
  const log = new PredictionLog(path, { onTrouble: (message) => warnings.push(message) });
  expect(await log.addFeedback("b18b82ae-0acc-4fff-98b8-e7c997d81244", "cat", null)).toBe("same");
  expect(await log.addFeedback("c36886ae-5e94-472b-9be5-4f4ee46154a2", "dog", null)).toBe("new");
  log.add(loggedPrediction("new"));
  expect(await log.addFeedback("new", "red", null)).toBe("new");
  // 0.1 shares the file during a deploy: what it writes, and what it reads of a prediction that the new version stored.
  old
    .prepare("INSERT OR IGNORE INTO predictions VALUES (?, ?, ?, ?, ?, ?, ?)")
    .run("old", 1, "fixture", "1", "cat", 1, '{"cat":1,"dog":0}');
  old.prepare("INSERT OR REPLACE INTO feedback VALUES (?, ?, ?)").run("new", "blue", 2);
  expect(old.prepare("SELECT label, probabilities FROM predictions WHERE request_id = ?").get("new")).toMatchObject({ label: "red" });
  expect(await log.addFeedback("old", "dog", null)).toBe("new");
  await log.close();
  expect(warnings).toEqual([]);
  expect(schema()).toEqual(before);
  const db = new DatabaseSync(path);
  const columns = (table: string): unknown[] =>
    db
      .prepare(`select name from pragma_table_info('${table}')`)
      .all()
      .map(({ name }) => name);
  expect(db.prepare("select count(*) as n from predictions").get()).toEqual({ n: 4 });
  expect(db.prepare("pragma user_version").get()).toEqual({ user_version: 1 });
  expect(columns("predictions")).toEqual(["request_id", "at_ms", "model_name", "model_version", "label", "confidence", "probabilities"]);
  expect(columns("feedback")).toEqual(["request_id", "label", "at_ms"]);
  db.close();
});

test("the tracking store of 0.1 still has its champion, and a registry address of it answers", async () => {
  const [answer] = await serval<Answer[]>("predict", picture, "--model", "models:/fixture@champion");
  expect(answer?.probabilities["cat"]).toBeCloseTo(0.491596, 3);
  const lineage = await serval<{ digest?: string }>("lineage", "models:/fixture@champion");
  expect(JSON.stringify(lineage)).toContain("bd627d405197");
});
