import { watch } from "node:fs";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fetchOuts } from "../../../../src/pipeline/remote/fetch.ts";
import { openRemote } from "../../../../src/pipeline/remote/open-remote.ts";
import { pullOuts } from "../../../../src/pipeline/remote/pull.ts";
import { pushOuts } from "../../../../src/pipeline/remote/push.ts";
import { flipBit, makeDataRepository, md5Of, type DataRepository } from "../../../helpers/data-repository.ts";
import { startServal } from "../../../helpers/serval-process.ts";

let folder: string;
let repository: DataRepository;
const inRemote = (md5: string): string => join(folder, "files/md5", md5.slice(0, 2), md5.slice(2));

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "serval-store-"));
  repository = await makeDataRepository();
  await repository.configure(`[core]\n    remote = store\n['remote "store"']\n    url = ${folder}\n`);
});
afterEach(async () => {
  await repository.remove();
  await rm(folder, { recursive: true, force: true });
});

async function objectsOf(dir: string): Promise<string[]> {
  const entries = await readdir(join(dir, "files/md5"), { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => parentPath.slice(-2) + name);
}

describe("a folder as the remote", () => {
  test("gets read-only objects under DVC's names, and gives them back", async () => {
    await repository.write({ "set/a": "one", "set/b": "two", file: "three" });
    const outs = await repository.add("set", "file");
    const link = await repository.link();
    expect(await pushOuts(repository.root, repository.cache, link, outs)).toEqual({
      remote: "store",
      url: folder,
      objects: 4,
      bytes: 6 + 5 + (await stat(repository.object(outs[0]!.md5))).size,
      present: 0,
    });
    expect(await readFile(inRemote(md5Of("two")), "utf8")).toBe("two");
    expect((await stat(inRemote(md5Of("two")))).mode & 0o777).toBe(0o444);
    await repository.forget("set", "file");
    expect(await pullOuts(repository.cache, link, outs)).toMatchObject({ objects: 4, restored: ["set", "file"] });
    expect(await readFile(join(repository.root, "set/b"), "utf8")).toBe("two");
  });

  test("may be named relative to .dvc, and takes each out to the remote that it names", async () => {
    await repository.configure(`[core]\n    remote = near\n['remote "near"']\n    url = ../near\n['remote "far"']\n    url = ${folder}\n`);
    await repository.write({ a: "one", b: "two" });
    await repository.add("a", "b");
    const text = await readFile(join(repository.root, "b.dvc"), "utf8");
    await writeFile(join(repository.root, "b.dvc"), `${text.trimEnd()}\n  remote: far\n`);
    const { code, stdout } = await repository.run("push", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject([
      { remote: "near", objects: 1 },
      { remote: "far", objects: 1 },
    ]);
    expect(await objectsOf(join(repository.root, "near"))).toEqual([md5Of("one")]);
    expect(await objectsOf(folder)).toEqual([md5Of("two")]);
    // A remote that is named leaves out what belongs to another.
    await rm(join(repository.root, "near"), { recursive: true });
    await repository.run("push", "--remote", "near");
    expect(await objectsOf(join(repository.root, "near"))).toEqual([md5Of("one")]);
  });

  test("neither gets nor owes what says push: false", async () => {
    await repository.write({ a: "one", b: "two" });
    await repository.add("a", "b");
    const text = await readFile(join(repository.root, "b.dvc"), "utf8");
    await writeFile(join(repository.root, "b.dvc"), `${text.trimEnd()}\n  push: false\n`);
    expect((await repository.run("push")).code).toBe(0);
    expect(await objectsOf(folder)).toEqual([md5Of("one")]);
    await rm(join(repository.root, "b"));
    expect((await repository.run("pull")).code).toBe(0);
    expect(await readFile(join(repository.root, "b"), "utf8")).toBe("two");
    await repository.forget("a", "b");
    expect((await repository.run("pull")).code).toBe(0);
    expect(await readFile(join(repository.root, "a"), "utf8")).toBe("one");
    await expect(stat(join(repository.root, "b"))).rejects.toThrow("ENOENT");
  });

  test("is left with whole objects and no manifest by a push that was killed, and the next one finishes", async () => {
    const texts = Array.from({ length: 500 }, (_, i) => `file ${i} `.repeat(3000));
    await repository.write({ ...Object.fromEntries(texts.map((text, i) => [`set/${i}`, text])), first: "first" });
    const outs = await repository.add("set", "first");
    // Makes the folder that is watched.
    const link = await repository.link();
    await pushOuts(repository.root, repository.cache, link, [outs[1]!]);
    link.remote.close();
    const seen = Promise.withResolvers<void>();
    let events = 0;
    const watcher = watch(join(folder, "files"), { recursive: true }, () => {
      if (++events > 60) seen.resolve();
    });
    const killed = startServal(repository.root, ["push", "set", "-j", "2"]);
    await seen.promise;
    await killed.stop("SIGKILL");
    watcher.close();
    const there = await objectsOf(folder);
    expect(there.length).toBeGreaterThan(1);
    expect(there.length).toBeLessThan(501);
    expect(there.filter((md5) => md5.endsWith(".dir"))).toEqual([]);
    for (const md5 of there) expect(md5Of(await readFile(inRemote(md5), "utf8"))).toBe(md5);
    const { stdout, code } = await repository.run("push", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject([{ objects: 502 - there.length, present: there.length }]);
    expect((await objectsOf(folder)).length).toBe(502);
    expect(await readdir(join(folder, "files"))).toEqual(["md5"]);
  });

  test("delivers an object again that was found damaged in the cache", async () => {
    await repository.write({ "set/a": "one", "set/b": "two", "set/c": "three" });
    const outs = await repository.add("set");
    const link = await repository.link();
    await pushOuts(repository.root, repository.cache, link, outs);
    await rm(join(repository.root, "set"), { recursive: true });
    await flipBit(repository.object(md5Of("two")));
    expect(await pullOuts(repository.cache, link, outs)).toMatchObject({ objects: 1, restored: ["set"] });
    expect(await readFile(join(repository.root, "set/b"), "utf8")).toBe("two");
    // The list of a folder's files likewise.
    await rm(join(repository.root, "set"), { recursive: true });
    await flipBit(repository.object(outs[0]!.md5));
    expect(await pullOuts(repository.cache, link, outs)).toMatchObject({ objects: 1, restored: ["set"] });
    expect(await readFile(join(repository.root, "set/c"), "utf8")).toBe("three");
  });

  test("has a damaged object named by pull, which ends with an error and the other outs in place", async () => {
    await repository.write({ "set/a": "one", "set/b": "two", other: "whole" });
    const outs = await repository.add("set", "other");
    await pushOuts(repository.root, repository.cache, await repository.link(), outs);
    await flipBit(inRemote(md5Of("two")));
    await repository.forget("set", "other");
    const { code, stderr } = await repository.run("pull");
    expect(code).toBe(1);
    expect(stderr).toContain(`E_REMOTE_CORRUPT: Remote "store": "${inRemote(md5Of("two"))}" (set/b): expected the MD5 ${md5Of("two")}`);
    expect(await readFile(join(repository.root, "other"), "utf8")).toBe("whole");
    expect(await repository.cache.has(md5Of("two"))).toBe(false);
  });

  test("keeps data of the workspace that no cache has, unless --force gives it up", async () => {
    await repository.write({ "set/a": "one" });
    const outs = await repository.add("set");
    await pushOuts(repository.root, repository.cache, await repository.link(), outs);
    await repository.forget();
    await repository.write({ "set/a": "mine" });
    const refused = await repository.run("pull");
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('E_DATA_UNSAVED: "set/a"');
    expect(await readFile(join(repository.root, "set/a"), "utf8")).toBe("mine");
    expect((await repository.run("pull", "--force")).code).toBe(0);
    expect(await readFile(join(repository.root, "set/a"), "utf8")).toBe("one");
  });

  test("is an error that says so where it is not a folder", async () => {
    await repository.write({ a: "one" });
    const outs = await repository.add("a");
    await writeFile(join(folder, "files"), "in the way");
    await expect(pushOuts(repository.root, repository.cache, await repository.link(), outs)).rejects.toMatchObject({
      code: "E_REMOTE_REFUSED",
      message: expect.stringContaining("ENOTDIR") as string,
    });
    await chmod(folder, 0o755);
    expect(await fetchOuts(repository.cache, await repository.link(), outs)).toMatchObject({ objects: 0, missing: [] });
  });
});

describe("the configuration of a remote", () => {
  const open = async (url: string, settings: Record<string, string> = {}): Promise<unknown> =>
    await openRemote({ name: "store", url, settings: { url, ...settings }, isOwn: false }).then(
      ({ url: opened }) => opened,
      ({ code, message }: { code: string; message: string }) => `${code}: ${message}`,
    );

  test.each([
    ["gs://bucket/x", {}, `gs:// is not supported: expected a folder or s3://BUCKET/PREFIX, got "gs://bucket/x"`],
    ["ssh://host/x", { user: "me" }, `ssh:// is not supported: expected a folder or s3://BUCKET/PREFIX, got "ssh://host/x"`],
    ["s3://bucket", { credentialpath: "x" }, `the setting "credentialpath" is unknown or not supported`],
    ["s3://bucket", { version_aware: "true" }, "version_aware is not supported: objects are kept under DVC's own names"],
    ["s3://bucket", { access_key_id: "x" }, "expected both access_key_id and secret_access_key, got only one of them"],
    ["s3://bucket", { jobs: "many" }, `jobs: expected a whole number from 1, got "many"`],
    ["s3://", {}, `expected s3://BUCKET/PREFIX, got "s3://"`],
    ["/x", { region: "eu" }, `the setting "region" is unknown or not supported`],
  ])("%s with %j is refused", async (url, settings, text) => {
    expect(await open(url, settings)).toBe(`E_DVC_CONFIG: .dvc/config: the remote "store": ${text}.`);
  });

  test("says how to add a remote where there is none, and which there are", async () => {
    await repository.write({ a: "one" });
    await repository.add("a");
    await repository.configure("");
    const none = await repository.run("push");
    expect([none.code, none.stderr.split("\n")[0]]).toEqual([2, "E_DVC_CONFIG: .dvc/config: there is no remote."]);
    await repository.configure(`['remote "store"']\n    url = ${folder}\n`);
    const other = await repository.run("push", "-r", "stoer");
    expect(other.stderr).toContain('E_DVC_CONFIG: .dvc/config: expected a remote "stoer", got only "store".');
  });
});
