import { execFileSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { makeDataRepository, md5Of, type DataRepository } from "../../../helpers/data-repository.ts";
import { startObjectStore } from "../../../helpers/object-store.ts";

let folder: string;
let repository: DataRepository;

const git = (...args: string[]): string =>
  execFileSync("git", ["-c", "user.name=test", "-c", "user.email=test@localhost", ...args], { cwd: repository.root, encoding: "utf8" });

async function objectsOf(dir: string): Promise<string[]> {
  const entries = await readdir(join(dir, "files/md5"), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => parentPath.slice(-2) + name)
    .sort();
}

interface Shown {
  readonly cache: { removed: string[]; kept: number };
  readonly remote?: { removed: string[]; kept: number };
}

async function gc(...args: string[]): Promise<Shown> {
  const { code, stdout, stderr } = await repository.run("gc", "--json", ...args);
  expect([code, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout) as Shown;
}

/** Versions `set` with one file of this text, as a commit. */
async function commit(text: string): Promise<string> {
  await rm(join(repository.root, "set"), { recursive: true, force: true });
  await repository.write({ "set/a": text });
  const [out] = await repository.add("set");
  git("add", "--all");
  git("commit", "--quiet", "--message", text);
  return out!.md5;
}

/** On main: one, two, three; `two` has a tag; the branch `side` has four; the workspace five, without a commit. */
let manifests: Record<string, string>;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "serval-store-"));
  repository = await makeDataRepository();
  await repository.configure(`[core]\n    remote = store\n['remote "store"']\n    url = ${folder}\n`);
  await repository.write({ ".gitignore": ".serval\n/.dvc/cache\n/.dvc/tmp\n" });
  git("init", "--quiet", "--initial-branch", "main");
  manifests = { one: await commit("one"), two: await commit("two") };
  git("tag", "--annotate", "--message", "a tag", "second");
  git("checkout", "--quiet", "-b", "side");
  manifests["four"] = await commit("four");
  git("checkout", "--quiet", "main");
  manifests["three"] = await commit("three");
  await rm(join(repository.root, "set"), { recursive: true });
  await repository.write({ "set/a": "five" });
  manifests["five"] = (await repository.add("set"))[0]!.md5;
});
afterEach(async () => {
  await repository.remove();
  await rm(folder, { recursive: true, force: true });
});

const objects = (...texts: string[]): string[] => texts.flatMap((text) => [md5Of(text), manifests[text] ?? ""]).sort();

describe("serval gc", () => {
  test.each([
    [["--workspace"], ["one", "two", "three", "four"]],
    [["--all-branches"], ["one", "two"]],
    [["--all-tags"], ["one", "three", "four"]],
    [["-a", "-T"], ["one"]],
    [["--all-commits"], []],
  ])("with %j removes what no version in that scope needs, and --dry only says so", async (scope, texts) => {
    const all = await objectsOf(join(repository.root, ".dvc/cache"));
    const dry = await gc(...scope, "--dry");
    expect([...dry.cache.removed].sort()).toEqual(objects(...texts));
    expect(await objectsOf(join(repository.root, ".dvc/cache"))).toEqual(all);
    expect((await gc(...scope, "--force")).cache).toEqual(dry.cache);
    const gone = objects(...texts);
    expect(await objectsOf(join(repository.root, ".dvc/cache"))).toEqual(all.filter((md5) => !gone.includes(md5)));
  });

  test.each([
    [["--force"], "expected at least one of --workspace, --all-branches, --all-tags or --all-commits"],
    [["--workspace"], "expected --force to confirm, or --dry"],
    [["--workspace", "--dry", "--remote", "store"], "--remote says where --cloud removes data"],
  ])("with %j alone is refused", async (args, text) => {
    const { code, stderr } = await repository.run("gc", ...args);
    expect([code, stderr]).toEqual([2, expect.stringContaining(text)]);
    expect((await objectsOf(join(repository.root, ".dvc/cache"))).length).toBe(10);
  });

  test("keeps the files of a folder whose list only the remote has", async () => {
    expect((await repository.run("push")).code).toBe(0);
    await rm(repository.object(manifests["five"]!), { force: true });
    expect((await gc("--workspace", "--force")).cache.kept).toBe(2);
    expect(await objectsOf(join(repository.root, ".dvc/cache"))).toEqual(objects("five"));
  });

  test("removes nothing where it cannot tell what a version needs", async () => {
    await rm(repository.object(manifests["two"]!), { force: true });
    const { code, stderr } = await repository.run("gc", "--all-tags", "--force");
    expect(code).toBe(1);
    expect(stderr).toContain(`"set" of commit ${git("rev-parse", "second^{commit}").slice(0, 12)} (${manifests["two"]})`);
    expect((await objectsOf(join(repository.root, ".dvc/cache"))).length).toBe(9);
    // Other versions do not need that list.
    expect((await gc("--all-branches", "--dry")).cache.removed).toHaveLength(3);
  });

  test("names the commit whose files it cannot read, and removes nothing", async () => {
    await writeFile(join(repository.root, "set.dvc"), "outs: [");
    git("commit", "--quiet", "--all", "--message", "broken");
    await repository.add("set").catch(() => undefined);
    await rm(join(repository.root, "set.dvc"));
    await repository.add("set");
    const { code, stderr } = await repository.run("gc", "-A", "-f");
    expect(code).toBe(2);
    expect(stderr).toContain(`E_DVC_FILE: Commit ${git("rev-parse", "HEAD").slice(0, 12)}: set.dvc`);
  });

  test("lets a version that DVC 2 wrote stand aside, whose objects lie elsewhere", async () => {
    await writeFile(join(repository.root, "old.dvc"), "outs:\n- md5: 0123456789abcdef0123456789abcdef\n  size: 1\n  path: old\n");
    git("add", "--all");
    git("commit", "--quiet", "--message", "legacy");
    git("rm", "--quiet", "old.dvc");
    git("commit", "--quiet", "--message", "gone");
    expect((await gc("--all-commits", "--dry")).cache.removed).toEqual([]);
  });

  test("reads the variables of an old version from that version, and so knows what Git has and the cache has not", async () => {
    const md5 = "0123456789abcdef0123456789abcdef.dir";
    await repository.write({
      "dvc.yaml": "stages:\n  draw:\n    cmd: draw\n    outs:\n    - ${place}:\n        cache: false\n",
      "params.yaml": "place: plots\n",
      "dvc.lock": `schema: '2.0'\nstages:\n  draw:\n    cmd: draw\n    outs:\n    - path: plots\n      hash: md5\n      md5: ${md5}\n`,
    });
    git("add", "--all");
    git("commit", "--quiet", "--message", "plots in Git");
    git("rm", "--quiet", "dvc.yaml", "params.yaml", "dvc.lock");
    git("commit", "--quiet", "--message", "gone");
    expect((await gc("--all-commits", "--dry")).cache.removed).toEqual([]);
  });

  test("does not take a shallow clone for all of the history", async () => {
    // What `git clone --depth 1` leaves: a commit whose parents were not brought.
    await writeFile(join(repository.root, ".git/shallow"), `${git("rev-parse", "HEAD").trim()}\n`);
    const { code, stderr } = await repository.run("gc", "--all-commits", "--force");
    expect([code, stderr]).toEqual([1, expect.stringContaining("is a shallow clone")]);
    expect(await objectsOf(join(repository.root, ".dvc/cache"))).toEqual(expect.arrayContaining(objects("one", "two")));
  });

  test("says that history needs Git", async () => {
    await rm(join(repository.root, ".git"), { recursive: true });
    const { code, stderr } = await repository.run("gc", "--all-branches", "--force");
    expect([code, stderr]).toEqual([1, expect.stringContaining('E_GC_UNSURE: "git for-each-ref')]);
  });

  test("with --cloud removes from the remote as well, manifests first, and keeps what is needed", async () => {
    const store = await startObjectStore();
    try {
      await repository.configure(
        `[core]\n    remote = s3\n['remote "s3"']\n    url = s3://data/p\n    endpointurl = ${store.url}\n    access_key_id = a\n    secret_access_key = b\n`,
      );
      const keyOf = (md5: string): string => `p/files/md5/${md5.slice(0, 2)}/${md5.slice(2)}`;
      for (const md5 of await objectsOf(join(repository.root, ".dvc/cache"))) {
        store.objects.set(keyOf(md5), await readFile(repository.object(md5)));
      }
      store.objects.set("p/files/md5/readme.txt", Buffer.from("not ours"));
      store.faults.push({ method: "DELETE", kind: 503, times: 2 });
      const refused = await repository.run("gc", "--workspace", "--cloud", "--force");
      expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('the remote "s3" is "s3://data/p"')]);
      expect(store.requests.some((request) => request.startsWith("DELETE"))).toBe(false);
      // .dvc/config comes with the repository; this file is the user's own.
      await repository.write({ ".dvc/config.local": `['remote "s3"']\n    url = s3://data/p\n` });
      const { cache, remote } = await gc("--workspace", "--cloud", "--force");
      expect(remote?.removed).toEqual(cache.removed);
      expect([...store.objects.keys()].sort()).toEqual([...objects("five").map(keyOf), "p/files/md5/readme.txt"].sort());
      const deletes = store.requests.filter((request) => request.startsWith("DELETE"));
      const lastManifest = deletes.findLastIndex((request) => request.endsWith(".dir"));
      expect(deletes.slice(0, lastManifest + 1).every((request) => request.endsWith(".dir"))).toBe(true);
      expect(new Set(deletes).size).toBe(8);
    } finally {
      await store.close();
    }
  });
});

test("a pull after gc brings back what another branch needs", async () => {
  expect((await repository.run("push")).code).toBe(0);
  git("checkout", "--quiet", "--force", "side");
  expect((await repository.run("push")).code).toBe(0);
  await gc("--workspace", "--force");
  git("checkout", "--quiet", "--force", "main");
  const missing = await repository.run("pull");
  // What main commits was never pushed.
  expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining(`E_REMOTE_MISSING: "set": the remote "store" (${folder})`)]);
  git("checkout", "--quiet", "--force", "side");
  expect((await repository.run("pull", "--force")).code).toBe(0);
  expect(await readFile(join(repository.root, "set/a"), "utf8")).toBe("four");
  expect((await stat(repository.object(md5Of("four")))).mode & 0o777).toBe(0o444);
});
