import { parseYaml } from "../../../src/pipeline/dvc-files/yaml-values.ts";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { lstat, mkdtemp, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openOutputCache } from "../../../src/pipeline/cache/outputs.ts";
import { reproduce, type ReproduceOptions, type StageResult } from "../../../src/pipeline/run/reproduce.ts";
import { readStatus } from "../../../src/pipeline/run/status.ts";
import { loadWorkspace } from "../../../src/pipeline/run/workspace.ts";
import { runServal, startServal } from "../../helpers/serval-process.ts";

let root: string;

async function write(files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
}
const read = async (path: string): Promise<string> => await readFile(join(root, path), "utf8");

async function repro(changes: Partial<ReproduceOptions> = {}): Promise<StageResult[]> {
  const cache = await openOutputCache(root);
  try {
    const options = { targets: [], jobs: 1, dry: false, force: false, singleItem: false, shell: "/bin/sh", outputToStderr: false };
    return await reproduce(await loadWorkspace(root), cache, { ...options, env: process.env, onEvent: () => undefined, ...changes });
  } finally {
    cache.close();
  }
}
const actions = async (changes: Partial<ReproduceOptions> = {}): Promise<Record<string, string>> =>
  Object.fromEntries((await repro(changes)).map(({ stage, action }) => [stage, action]));
async function status(): Promise<Record<string, readonly unknown[]>> {
  const cache = await openOutputCache(root);
  try {
    return { ...(await readStatus(await loadWorkspace(root), cache, [])).changed };
  } finally {
    cache.close();
  }
}

const twoStages = `stages:
  train:
    cmd: cat data.txt >> runs.log && cat data.txt params.yaml > model.txt
    deps: [data.txt]
    params: [train.epochs]
    outs: [model.txt]
  evaluate:
    cmd: wc -c < model.txt > size.txt
    deps: [model.txt]
    metrics:
      - size.txt:
          cache: false
`;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "serval-repro-"));
  execFileSync("git", ["init", "--quiet"], { cwd: root });
});
afterEach(() => rm(root, { recursive: true, force: true }));

describe("a pipeline of two stages", () => {
  beforeEach(() => write({ "dvc.yaml": twoStages, "data.txt": "one\n", "params.yaml": "train:\n  epochs: 3\n" }));

  test("runs once, in the order of what reads what, and then is up to date", async () => {
    expect(await actions()).toEqual({ train: "ran", evaluate: "ran" });
    expect(await read("size.txt")).toBe("23\n");
    expect(await actions()).toEqual({ train: "unchanged", evaluate: "unchanged" });
    expect(await read("runs.log")).toBe("one\n");
    expect(await status()).toEqual({});
  });

  test("says which parameter changed, and runs what depends on it", async () => {
    await repro();
    await write({ "params.yaml": "train:\n  epochs: 4\n" });
    expect(await status()).toEqual({ train: [{ "changed deps": { "params.yaml": { "train.epochs": "modified" } } }] });
    const [train] = await repro();
    expect(train).toMatchObject({ action: "ran", reasons: ["params.yaml: train.epochs changed from 3 to 4"] });
  });

  test("reads what a parameter file merges from elsewhere in it, as DVC's parser does", async () => {
    await repro();
    await write({ "params.yaml": "first: &a {epochs: 3, rate: 1}\nsecond: &b {epochs: 9}\ntrain:\n  <<: [*a, *b]\n  rate: 2\n" });
    expect(await status()).toEqual({});
    expect(parseYaml(await read("params.yaml"), "params.yaml", "E_DVC_FILE").value).toEqual(
      new Map([
        ["first", new Map(Object.entries({ epochs: 3, rate: 1 }))],
        ["second", new Map(Object.entries({ epochs: 9 }))],
        ["train", new Map(Object.entries({ epochs: 3, rate: 2 }))],
      ]),
    );
  });

  test("leaves a stage alone whose inputs are written again with the same bytes", async () => {
    await repro();
    await write({ "dvc.yaml": twoStages.replace("model.txt\n    deps", "model.txt \n    deps").replace("> model.txt", ">model.txt") });
    expect(await actions()).toEqual({ train: "ran", evaluate: "unchanged" });
  });

  test("takes the outs of an earlier run with the same inputs from the cache, those that Git tracks as well", async () => {
    await repro();
    const [model, size] = [await read("model.txt"), await read("size.txt")];
    await write({ "data.txt": "another\n" });
    await repro();
    await write({ "data.txt": "one\n" });
    expect(await actions()).toEqual({ train: "restored", evaluate: "restored" });
    expect([await read("model.txt"), await read("size.txt"), await read("runs.log")]).toEqual([model, size, "one\nanother\n"]);
    expect((await stat(join(root, "size.txt"))).mode & 0o200).toBe(0o200);
    expect(await status()).toEqual({});
  });

  test("does not take the outs of a run with another parameter for those of this one, whatever it is called", async () => {
    const pipeline = "stages:\n  one:\n    cmd: cat params.yaml > out.txt\n    params: [image]\n    outs: [out.txt]\n";
    const withSize = async (size: number): Promise<unknown> => {
      await write({ "dvc.yaml": pipeline, "params.yaml": `image:\n  size: ${size}\n` });
      return [await actions(), await read("out.txt")];
    };
    expect(await withSize(64)).toEqual([{ one: "ran" }, "image:\n  size: 64\n"]);
    expect(await withSize(96)).toEqual([{ one: "ran" }, "image:\n  size: 96\n"]);
    expect(await withSize(64)).toEqual([{ one: "restored" }, "image:\n  size: 64\n"]);
  });

  test("brings back an out that is gone or was changed by hand, without a run", async () => {
    await repro();
    const model = await read("model.txt");
    await rm(join(root, "model.txt"));
    expect(await actions()).toEqual({ train: "restored", evaluate: "unchanged" });
    await rm(join(root, "model.txt"));
    await write({ "model.txt": "by hand" });
    expect(await status()).toMatchObject({ train: [{ "changed outs": { "model.txt": "modified" } }] });
    expect(await actions()).toEqual({ train: "restored", evaluate: "unchanged" });
    expect([await read("model.txt"), await read("runs.log")]).toEqual([model, "one\n"]);
  });

  test("puts into the cache again what only the cache has lost, without a run", async () => {
    await repro();
    await rm(join(root, ".dvc/cache"), { recursive: true, force: true });
    expect(await status()).toMatchObject({ train: [{ "changed outs": { "model.txt": "not in cache" } }] });
    expect(await actions()).toEqual({ train: "recorded", evaluate: "unchanged" });
    expect([await status(), await read("runs.log")]).toEqual([{}, "one\n"]);
  });

  test("with dry, changes nothing and names all that follows", async () => {
    expect(await actions({ dry: true })).toEqual({ train: "would run", evaluate: "would run" });
    expect(existsSync(join(root, "dvc.lock")) || existsSync(join(root, "model.txt"))).toBe(false);
  });

  test("with force, runs what is up to date; with a target and single item, only that", async () => {
    await repro();
    expect(await actions({ force: true, targets: ["train"] })).toEqual({ train: "ran" });
    expect(await actions({ force: true, targets: ["evaluate"], singleItem: true })).toEqual({ evaluate: "ran" });
    expect(await read("runs.log")).toBe("one\none\n");
  });

  test("tells Git to ignore outs of the cache, and not those that Git tracks", async () => {
    await repro();
    const ignored = (path: string): boolean => {
      try {
        execFileSync("git", ["check-ignore", "--quiet", path], { cwd: root });
        return true;
      } catch {
        return false;
      }
    };
    expect([ignored("model.txt"), ignored("size.txt"), ignored(".serval/hashes.sqlite")]).toEqual([true, false, true]);
  });

  test("a command that fails keeps what was done before it, and the next call continues there", async () => {
    await write({ "dvc.yaml": twoStages.replace("wc -c < model.txt > size.txt", "test -f allowed && echo 1 > size.txt") });
    await expect(repro()).rejects.toMatchObject({
      code: "E_STAGE_FAILED",
      message: 'Stage "evaluate": the command `test -f allowed && echo 1 > size.txt` ended with 1.',
    });
    await write({ allowed: "" });
    expect(await actions()).toEqual({ train: "unchanged", evaluate: "ran" });
  });

  test("names a dep, a parameter and an out that are not there", async () => {
    await rm(join(root, "data.txt"));
    await expect(repro()).rejects.toMatchObject({ code: "E_STAGE_INPUT", message: 'Stage "train" reads "data.txt", which is not there.' });
    await write({ "data.txt": "one\n", "params.yaml": "train: {}\n" });
    await expect(repro()).rejects.toMatchObject({
      message: expect.stringContaining('reads "train.epochs" of "params.yaml", which has no such'),
    });
    await write({ "params.yaml": "train:\n  epochs: 3\n", "dvc.yaml": twoStages.replace("> model.txt", "> other.txt") });
    await expect(repro()).rejects.toMatchObject({
      code: "E_STAGE_FAILED",
      message: expect.stringContaining('did not write its out "model.txt"'),
    });
  });

  test("a dep that changes while its stage runs makes the stage due again", async () => {
    await write({ "dvc.yaml": twoStages.replace("cat data.txt >> runs.log", "echo changed >> data.txt") });
    await repro({ targets: ["train"] });
    expect(await status()).toMatchObject({ train: [{ "changed deps": { "data.txt": "modified" } }] });
  });
});

test("outs are removed before a stage runs, unless they persist; and no link leads a command into the cache", async () => {
  await write({
    ".dvc/config": "[cache]\n    type = hardlink,copy\n",
    "dvc.yaml":
      "stages:\n  count:\n    cmd: test ! -e gone.txt && echo new > gone.txt && echo line >> kept.txt\n    deps: [in.txt]\n    outs:\n      - gone.txt\n      - kept.txt:\n          persist: true\n",
    "in.txt": "1",
  });
  await repro();
  expect((await lstat(join(root, "kept.txt"))).nlink).toBe(2);
  await write({ "in.txt": "2" });
  await repro();
  expect(await read("kept.txt")).toBe("line\nline\n");
  const objects = execFileSync("sh", ["-c", "md5sum .dvc/cache/files/md5/*/* | awk '{print $1, $2}'"], { cwd: root, encoding: "utf8" });
  for (const line of objects.trim().split("\n")) {
    const [md5 = "", path = ""] = line.split(" ");
    expect(path.split("/").slice(-2).join("")).toBe(md5);
  }
});

test("a link inside an out that persists does not keep a stage from running again", async () => {
  const command = "test -e ok.txt; code=$?; mkdir -p ck && echo 1 > ck/e1 && ln -sfn e1 ck/latest; exit $code";
  await write({
    "dvc.yaml": `stages:\n  train:\n    cmd: ${command}\n    deps: [in.txt]\n    outs:\n      - ck:\n          persist: true\n`,
    "in.txt": "1",
  });
  await expect(repro()).rejects.toMatchObject({ code: "E_STAGE_FAILED" });
  await write({ "ok.txt": "" });
  expect(await actions()).toEqual({ train: "ran" });
  expect(await read("ck/latest")).toBe("1\n");
});

test("independent stages run at once with jobs, and what reads both waits for both", async () => {
  // Each of the two waits until the other has begun, so one after the other would never end.
  const meet = (mine: string, other: string): string =>
    `touch begun-${mine}; while [ ! -e begun-${other} ]; do sleep 0.01; done; echo ${mine} > ${mine}.txt`;
  await write({
    "dvc.yaml": `stages:
  both:
    cmd: cat a.txt b.txt > both.txt
    deps: [a.txt, b.txt]
    outs: [both.txt]
  a:
    cmd: ${meet("a", "b")}
    outs: [a.txt]
  b:
    cmd: ${meet("b", "a")}
    outs: [b.txt]
`,
  });
  expect(await actions({ jobs: 2 })).toEqual({ a: "ran", b: "ran", both: "ran" });
  expect(await read("both.txt")).toBe("a\nb\n");
  expect(await status()).toEqual({});
});

test("several stages that fail at once are all reported", async () => {
  await write({
    "dvc.yaml": `stages:
  a:
    cmd: touch a.up; while [ ! -e b.up ]; do sleep 0.02; done; exit 3
  b:
    cmd: touch b.up; while [ ! -e a.up ]; do sleep 0.02; done; exit 4
  c:
    cmd: touch c.ran
`,
  });
  const error = await repro({ jobs: 2 }).catch((caught: unknown) => caught);
  expect(error).toMatchObject({ code: "E_STAGE_FAILED", message: expect.stringMatching(/^2 stages failed:\n/) });
  expect((error as Error).message.split("\n").slice(1).sort()).toEqual([
    '  Stage "a": the command `touch a.up; while [ ! -e b.up ]; do sleep 0.02; done; exit 3` ended with 3.',
    '  Stage "b": the command `touch b.up; while [ ! -e a.up ]; do sleep 0.02; done; exit 4` ended with 4.',
  ]);
  expect(existsSync(join(root, "c.ran"))).toBe(false);
});

test("names with blanks, quotes and Unicode in both forms go through dvc.lock and back", async () => {
  const names = ["with blank.txt", `"quo'ted".txt`, "12:30.txt", "\u00e9.txt", "e\u0301.txt", `${"x".repeat(250)}.txt`];
  const stages = names.map(
    (name, i) => `  s${i}:\n    cmd: cp in.txt out/${i}/*\n    deps: [in.txt]\n    outs:\n      - ${JSON.stringify(`out/${i}/${name}`)}\n`,
  );
  await write({ "dvc.yaml": `stages:\n${stages.join("").replaceAll(/cp in.txt out\/(\d)\/\*/g, "node write.mjs $1")}`, "in.txt": "1" });
  await write({
    "write.mjs": `import { writeFileSync, mkdirSync } from "node:fs";
const i = process.argv[2];
mkdirSync("out/" + i, { recursive: true });
writeFileSync("out/" + i + "/" + ${JSON.stringify(names)}[i], i);`,
  });
  expect(new Set(Object.values(await actions()))).toEqual(new Set(["ran"]));
  expect(new Set(Object.values(await actions()))).toEqual(new Set(["unchanged"]));
});

describe("serval repro as a process", () => {
  const slow = (more: string): string => `stages:
  slow:
    cmd: ${more}
    deps: [in.txt]
    outs: [out.txt]
`;

  test("passes SIGTERM on, waits for the stage, records nothing of it and ends with the code of an interruption", async () => {
    await write({
      "in.txt": "1",
      "dvc.yaml": slow(
        `trap 'echo saved > state.txt; exit 3' TERM; echo started; while [ ! -e go ]; do sleep 0.05; done; echo x > out.txt`,
      ),
    });
    const serval = startServal(root, ["repro"]);
    await serval.waitFor(/^started$/m);
    const { code, stderr } = await serval.stop("SIGTERM");
    expect([code, await read("state.txt"), existsSync(join(root, "dvc.lock"))]).toEqual([130, "saved\n", false]);
    expect(stderr).toContain("E_INTERRUPTED");
    await write({ go: "" });
    expect((await runServal(root, ["repro"])).code).toBe(0);
  });

  test("killed by SIGKILL while a stage runs, the next call ends what was left behind and finishes", async () => {
    const forever = "trap 'echo > ended.txt; exit' TERM; echo started; while true; do sleep 0.05; done";
    await write({ "in.txt": "1", "dvc.yaml": slow(forever) });
    const serval = startServal(root, ["repro"]);
    await serval.waitFor(/^started$/m);
    // Its streams stay open, because the command has them as well.
    const exit = once(serval.child, "exit");
    serval.child.kill("SIGKILL");
    await exit;
    await write({ "dvc.yaml": slow("test -e ended.txt && echo again > out.txt") });
    const next = await runServal(root, ["repro", "--json"]);
    expect([next.code, await read("out.txt")]).toEqual([0, "again\n"]);
    expect(next.stderr).toMatch(/slow: ending what a killed `serval repro` left running: process \d+/);
  });

  test("two at once: the second waits, and finds the stage done", async () => {
    await write({
      "in.txt": "1",
      "dvc.yaml": slow("echo run >> runs.log; echo started; while [ ! -e go ]; do sleep 0.05; done; echo x > out.txt"),
    });
    const first = startServal(root, ["repro"]);
    await first.waitFor(/^started$/m);
    const second = startServal(root, ["repro"]);
    await second.waitFor(/waiting for another/);
    await write({ go: "" });
    const [one, two] = [await first.ended, await second.ended];
    expect([one.code, two.code, await read("runs.log")]).toEqual([0, 0, "run\n"]);
    expect(two.stdout).toContain("slow: up to date");
  });
});
