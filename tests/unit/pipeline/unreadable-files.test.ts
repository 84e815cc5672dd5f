import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { lstat, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { renderManifest } from "../../../src/pipeline/cache/manifest.ts";
import { lockFileOf, writeLockedStage } from "../../../src/pipeline/dvc-files/lock-file.ts";
import { makeDataRepository, md5Of, type DataRepository } from "../../helpers/data-repository.ts";

// A link to itself is there and cannot be read, as a file on a broken disk (EIO) or while too many are open (EMFILE).
let repository: DataRepository;
beforeEach(async () => {
  repository = await makeDataRepository();
});
afterEach(() => repository.remove());

async function makeUnreadable(path: string): Promise<void> {
  await rm(join(repository.root, path), { force: true });
  await symlink(path, join(repository.root, path));
}
async function isLink(path: string): Promise<boolean> {
  return (await lstat(join(repository.root, path))).isSymbolicLink();
}

test("add keeps a .dvc file that it cannot read: its remote, its comments and its description may be in there", async () => {
  await repository.write({ data: "one" });
  await makeUnreadable("data.dvc");
  await expect(repository.add("data")).rejects.toThrow("ELOOP");
  expect(await isLink("data.dvc")).toBe(true);
});

test("a lock that cannot be read is not replaced by one with a single stage", async () => {
  await makeUnreadable("dvc.lock");
  const stage = { dir: "", name: "train" };
  const entry = { cmd: "train", deps: [], params: new Map(), outs: [] };
  expect(lockFileOf(stage)).toBe("dvc.lock");
  await expect(writeLockedStage(repository.root, stage, entry)).rejects.toThrow("ELOOP");
  expect(await isLink("dvc.lock")).toBe(true);
});

test("the list of a folder's files is hashed as it was read, whatever the second reading would give", async () => {
  const [wrong, right] = ["wrong", "right"].map((name) => renderManifest([{ relpath: name, md5: md5Of(name) }]));
  const md5 = `${md5Of(right ?? "")}.dir`;
  const path = repository.object(md5);
  await mkdir(dirname(path), { recursive: true });
  execFileSync("mkfifo", [path]);
  await writeFile(join(repository.root, "wrong"), wrong ?? "");
  await writeFile(join(repository.root, "right"), right ?? "");
  // The pipe gives another text to each later reader: a list that is replaced between two readings. The pause lets the first one see
  // its end; without the loop a reading that comes too late would wait for a writer, and this whole process with it.
  const script = `cat wrong > "$0"; while sleep 0.1; do cat right > "$0"; done`;
  const writer = spawn("sh", ["-c", script, path], { cwd: repository.root, stdio: "ignore", detached: true });
  try {
    expect(() => repository.cache.entries(md5)).toThrow("the list of a folder's files");
  } finally {
    process.kill(-(writer.pid as number), "SIGKILL");
    await once(writer, "exit");
  }
});
