import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { initProject } from "../../../src/workflows/project/init-project.ts";
import { runCli } from "../../../src/cli/main.ts";
import { loadParams } from "../../../src/config/params.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";

const written = ["params.yaml", ".gitignore", "dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore"];

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-init-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function put(path: string, text = "x"): Promise<void> {
  await mkdir(join(dir, path, ".."), { recursive: true });
  await writeFile(join(dir, path), text);
}

async function runInit(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const context = recordedContext(dir);
  const code = await runCli(["init", ...args], context);
  return { code, stdout: context.stdout.text, stderr: context.stderr.text };
}

describe("serval init", () => {
  test("writes params.yaml with a backbone and pictures of its size, dvc.yaml with four stages and .gitignore", async () => {
    const result = await initProject({ dir: join(dir, "Rose & Tulip") });
    expect(result).toEqual({ created: written, kept: [], source: "images", found: false });
    const made = join(dir, "Rose & Tulip");
    const params = await loadParams(made);
    expect(params.model.name).toBe("rose-tulip");
    expect(params.data).toEqual({ source: "images", dedupe: true });
    const { prepare } = await loadParams(dir);
    const { train: defaults } = await loadParams(dir, ["train.backbone=efficientnet-lite0", "train.strategy=head"]);
    expect(params.train).toEqual({ ...defaults, cropSize: 224 });
    expect(params.prepare).toEqual({ ...prepare, width: 224, height: 224 });
    // What has no meaning beside a backbone is not there to confuse.
    expect(await readFile(join(made, "params.yaml"), "utf8")).not.toMatch(/epochs|learningRate|mixup/);
    const pipeline = parse(await readFile(join(made, "dvc.yaml"), "utf8")) as { stages: Record<string, { cmd: string; deps?: string[] }> };
    expect(Object.entries(pipeline.stages).map(([name, { cmd }]) => [name, cmd.split(" ")[2]])).toEqual([
      ["download_data", "data"],
      ["preprocess_data", "prepare"],
      ["train_model", "train"],
      ["evaluate_model", "evaluate"],
    ]);
    expect(pipeline.stages["download_data"]?.deps).toEqual(["images"]);
    expect(await readFile(join(made, ".gitignore"), "utf8")).toContain("\n/data/raw\n");
  });

  test("overwrites nothing and names the files that it left alone", async () => {
    await put("params.yaml", "train:\n  epochs: 3\n");
    await put(".gitignore", "mine\n");
    const { code, stdout } = await runInit();
    expect(code).toBe(0);
    expect(stdout).toContain("left params.yaml alone: it exists already\nleft .gitignore alone: it exists already\n");
    expect(stdout).toContain("wrote dvc.yaml\n");
    expect(await readFile(join(dir, "params.yaml"), "utf8")).toBe("train:\n  epochs: 3\n");
    expect(await readFile(join(dir, ".gitignore"), "utf8")).toBe("mine\n");
  });

  test("finds the one folder that holds a folder of images for each class", async () => {
    await put("photos/rose/1.JPG");
    await put("photos/tulip/1.png");
    await put("notes/a/readme.txt");
    await put("notes/b/1.jpg");
    expect(await initProject({ dir })).toMatchObject({ source: "photos", found: true });
  });

  test("tells how to lay images out where there are none, and not where images/ has them", async () => {
    const hint = "make one folder for each class";
    expect((await runInit()).stdout).toContain(hint);
    await put("set/images/rose/1.jpg");
    await put("set/images/tulip/1.jpg");
    expect((await runInit("set")).stdout).not.toContain(hint);
  });

  test("does not guess between two such folders", async () => {
    for (const path of ["one/a/1.jpg", "one/b/1.jpg", "two/a/1.jpg", "two/b/1.jpg"]) await put(path);
    expect((await initProject({ dir })).source).toBe("images");
  });

  test("takes --images relative to where it is called, and leaves addresses as they are", async () => {
    await put("photos/a/1.jpg");
    expect(JSON.parse((await runInit("work", "--images", "photos", "--json")).stdout)).toEqual({
      created: written,
      kept: [],
      source: "../photos",
      found: false,
    });
    expect((await loadParams(join(dir, "work"))).data.source).toBe("../photos");
    await runInit("remote", "--images", "https://example.org/set.zip");
    expect((await loadParams(join(dir, "remote"))).data.source).toBe("https://example.org/set.zip");
    expect(await readFile(join(dir, "remote/dvc.yaml"), "utf8")).not.toContain("example.org");
  });

  test("refuses a name that no model may have, and writes nothing", async () => {
    const { code, stderr } = await runInit("new", "--name", "My Model");
    expect(code).toBe(2);
    expect(stderr).toMatch(/^E_PARAMS: .*model\.name: expected 1 to 63 of .*, got "My Model"\./);
    expect(await readdir(dir)).toEqual([]);
  });
});
