import { existsSync } from "node:fs";
import { lstat, mkdir, readFile, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { cloneHostile, dataFile, folderObject, md5Of, type HostileClone, type HostileContent } from "../helpers/hostile-repository.ts";

const hook = "#!/bin/sh\necho taken over\n";
let clone: HostileClone;
afterEach(() => clone.remove());

async function attack(content: HostileContent, ...args: string[]): Promise<{ code: number; stderr: string }> {
  clone = await cloneHostile(content);
  return await clone.run(...args);
}

/** A lock that records one out of a stage, which never has to run. */
const lockOf = (path: string, md5: string): string =>
  `schema: '2.0'\nstages:\n  one:\n    cmd: go\n    outs:\n    - path: ${JSON.stringify(path)}\n      hash: md5\n      md5: ${md5}\n`;

describe("an out that belongs to Git or to the tools is refused, and nothing is written", () => {
  const forms = [
    ".git/hooks/post-checkout",
    ".GIT/hooks/post-checkout",
    "git~1/hooks/post-checkout",
    ".git./hooks/post-checkout",
    ".git::$INDEX_ALLOCATION/hooks/post-checkout",
    ".g\u200cit/hooks/post-checkout",
    "sub/../.git/hooks/post-checkout",
    "sub/.git/config",
    ".dvc/config.local",
    ".serval/hashes.sqlite",
    "a\\..\\..\\b",
    "C:/Windows/x",
    "nul",
    "..",
    ".",
    "sub/..",
    "../outside",
    "/tmp/outside",
    "line\nbreak",
    "...",
  ];

  test("in a .dvc file, however it is written", async () => {
    clone = await cloneHostile({ objects: { [md5Of(hook)]: hook } });
    for (const path of forms) {
      await writeFile(join(clone.root, "x.dvc"), dataFile(path, md5Of(hook)));
      const { code, stderr } = await clone.run("pull", "--force");
      expect([path, code, stderr]).toEqual([path, 2, expect.stringContaining("E_DVC_FILE: x.dvc: outs[0]: ")]);
      expect(existsSync(join(clone.root, ".git/hooks/post-checkout"))).toBe(false);
      expect(await readdir(clone.around)).toEqual(["clone"]);
      expect((await readdir(clone.root)).sort()).toEqual([".dvc", ".git", "objects", "x.dvc"]);
    }
  });

  test("in dvc.lock, by every verb", async () => {
    const path = ".git/hooks/post-checkout";
    const files = {
      "dvc.yaml": `stages:\n  one:\n    cmd: go\n    outs: [${JSON.stringify(path)}]\n`,
      "dvc.lock": lockOf(path, md5Of(hook)),
    };
    clone = await cloneHostile({ files, objects: { [md5Of(hook)]: hook } });
    for (const verb of ["checkout", "pull", "push", "status", "repro", "gc -w --dry"]) {
      const { code, stderr } = await clone.run(...verb.split(" "));
      expect([verb, code, stderr]).toEqual([verb, 2, expect.stringContaining(path)]);
      expect(existsSync(join(clone.root, path))).toBe(false);
    }
  });

  test("where `wdir` leads there", async () => {
    const { code, stderr } = await attack(
      { files: { "sub/x.dvc": dataFile("post-checkout", md5Of(hook), "../.git/hooks") }, objects: { [md5Of(hook)]: hook } },
      "pull",
    );
    expect([code, stderr]).toEqual([2, expect.stringContaining("E_DVC_FILE")]);
    expect(existsSync(join(clone.root, ".git/hooks/post-checkout"))).toBe(false);
  });

  test("where the list of a folder's files names it", async () => {
    const lists = [".git/hooks/post-checkout", "..\\..\\x", ".GIT/config", "a//b", "a/./b"].map((name) => folderObject({ [name]: hook }));
    clone = await cloneHostile({ objects: Object.assign({}, ...lists.map(({ objects }) => objects)) as Record<string, string> });
    for (const { md5 } of lists) {
      await writeFile(join(clone.root, "x.dvc"), dataFile("set", md5));
      const { code, stderr } = await clone.run("pull", "--force");
      expect([code, stderr]).toEqual([1, expect.stringContaining("E_CACHE_CORRUPT")]);
      expect(existsSync(join(clone.root, "set"))).toBe(false);
    }
  });

  test("`wdir: ..` is fine where the result lies in the repository", async () => {
    const { code } = await attack(
      { files: { "sub/x.dvc": dataFile("data/a.txt", md5Of("fine"), "..") }, objects: { [md5Of("fine")]: "fine" } },
      "pull",
    );
    expect(code).toBe(0);
    expect(await readFile(join(clone.root, "data/a.txt"), "utf8")).toBe("fine");
  });
});

test("a .dvcignore does not make data of a Git repository inside an out", async () => {
  const { md5, objects } = folderObject({ "a.txt": "one" });
  clone = await cloneHostile({ files: { "vendor.dvc": dataFile("vendor", md5), ".dvcignore": "!.git\n!.git/\n!.git/**\n" }, objects });
  await mkdir(join(clone.root, "vendor/.git"), { recursive: true });
  await writeFile(join(clone.root, "vendor/.git/config"), "mine");
  expect((await clone.run("pull", "--force")).code).toBe(0);
  expect(await readFile(join(clone.root, "vendor/.git/config"), "utf8")).toBe("mine");
});

describe("a link in the repository never leads a write elsewhere", () => {
  const key = "ssh-ed25519 AAAA attacker\n";

  test("in the parents of an out", async () => {
    const { code, stderr } = await attack(
      {
        files: { "x.dvc": dataFile("data/authorized_keys", md5Of(key)) },
        links: { data: "../victim" },
        objects: { [md5Of(key)]: key },
      },
      "status",
    );
    expect([code, stderr]).toEqual([0, ""]);
    await mkdir(join(clone.around, "victim"));
    for (const args of [["pull"], ["pull", "--force"], ["checkout", "--force"]]) {
      const result = await clone.run(...args);
      expect([result.code, result.stderr]).toEqual([2, expect.stringContaining("E_PATH_LINK")]);
      expect(result.stderr).toContain("--follow-link data");
    }
    expect(await readdir(join(clone.around, "victim"))).toEqual([]);
  });

  test("that is the out itself", async () => {
    const { md5, objects } = folderObject({ authorized_keys: key });
    clone = await cloneHostile({ files: { "data.dvc": dataFile("data", md5) }, links: { data: "../victim" }, objects });
    await mkdir(join(clone.around, "victim"));
    await writeFile(join(clone.around, "victim/diary"), "mine");
    for (const args of [["pull"], ["pull", "--force"]]) {
      const { code, stderr } = await clone.run(...args);
      expect([code, stderr]).toEqual([2, expect.stringContaining("E_PATH_LINK")]);
    }
    expect(await readdir(join(clone.around, "victim"))).toEqual(["diary"]);
  });

  test("where the out is a file, and the link leads to a folder: what is in that folder stays", async () => {
    clone = await cloneHostile({
      files: { "data.dvc": dataFile("data", md5Of(key)) },
      links: { data: "../victim" },
      objects: { [md5Of(key)]: key },
    });
    await mkdir(join(clone.around, "victim"));
    await writeFile(join(clone.around, "victim/diary"), "mine");
    expect((await clone.run("pull", "--force")).code).toBe(2);
    expect(await readdir(join(clone.around, "victim"))).toEqual(["diary"]);
  });

  test("that is the folder of the cache, of temporary files or of state", async () => {
    for (const link of [".dvc/cache", ".dvc/tmp", ".serval"]) {
      clone = await cloneHostile({
        files: { "x.dvc": dataFile("x", md5Of("x")), ".gitignore": "" },
        links: { [link]: link === ".serval" ? "../victim" : "../../victim" },
        objects: { [md5Of("x")]: "x" },
      });
      await mkdir(join(clone.around, "victim"));
      const { code, stderr } = await clone.run("pull");
      expect([link, code, stderr]).toEqual([link, 2, expect.stringMatching(/E_PATH_LINK|".serval" is in Git/)]);
      expect(await readdir(join(clone.around, "victim"))).toEqual([]);
      await clone.remove();
    }
  });

  test("that .gitignore is", async () => {
    clone = await cloneHostile({ files: { "set/a": "one" }, links: { ".gitignore": "../victim" } });
    await writeFile(join(clone.around, "victim"), "mine\n");
    await mkdir(join(clone.root, "own"));
    await writeFile(join(clone.root, "own/a"), "one");
    const { code, stderr } = await clone.run("add", "own");
    expect([code, stderr]).toEqual([2, expect.stringContaining("E_PATH_LINK")]);
    expect(await readFile(join(clone.around, "victim"), "utf8")).toBe("mine\n");
  });

  test("before a stage runs: its outs are not removed through the link", async () => {
    clone = await cloneHostile({
      files: { "dvc.yaml": "stages:\n  one:\n    cmd: mkdir -p data/set && echo 1 > data/set/a\n    outs: [data/set]\n" },
      links: { data: "../victim" },
    });
    await mkdir(join(clone.around, "victim/set"), { recursive: true });
    await writeFile(join(clone.around, "victim/set/diary"), "mine");
    const { code, stderr } = await clone.run("repro");
    expect([code, stderr]).toEqual([2, expect.stringContaining("E_PATH_LINK")]);
    expect(await readdir(join(clone.around, "victim/set"))).toEqual(["diary"]);
  });
});

describe("a user's own link is followed once it is allowed", () => {
  const { md5, objects } = folderObject({ "a.txt": "one" });
  const content = { files: { "data.dvc": dataFile("data", md5), ".gitignore": "/data\n" }, objects };

  async function ownLink(): Promise<string> {
    clone = await cloneHostile(content);
    const disk = join(clone.around, "disk");
    await mkdir(disk);
    await symlink(disk, join(clone.root, "data"));
    return disk;
  }

  test("with --follow-link, which is recorded for this machine alone", async () => {
    const disk = await ownLink();
    const refused = await clone.run("pull");
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringMatching(/E_PATH_LINK: "data" is a link to ".*\/disk"/)]);
    const allowed = await clone.run("pull", "--follow-link", "data");
    expect([allowed.code, allowed.stderr]).toEqual([0, ""]);
    expect(await readFile(join(disk, "a.txt"), "utf8")).toBe("one");
    expect((await lstat(join(clone.root, "data"))).isSymbolicLink()).toBe(true);
    expect(await readFile(join(clone.root, ".dvc/config.local"), "utf8")).toContain("follow_links");
    expect(await readFile(join(clone.root, ".dvc/config"), "utf8")).not.toContain("follow_links");
    await writeFile(join(disk, "a.txt"), "two");
    expect((await clone.run("add", "data")).code).toBe(0);
    expect((await clone.run("checkout")).code).toBe(0);
    expect((await clone.run("status", "--json")).stdout.trim()).toBe("{}");
  });

  test("and no further than to where it led then", async () => {
    await ownLink();
    expect((await clone.run("pull", "--follow-link", "data")).code).toBe(0);
    await rm(join(clone.root, "data"));
    await mkdir(join(clone.around, "victim"));
    await symlink(join(clone.around, "victim"), join(clone.root, "data"));
    const { code, stderr } = await clone.run("checkout");
    expect([code, stderr]).toEqual([2, expect.stringContaining("E_PATH_LINK")]);
    expect(await readdir(join(clone.around, "victim"))).toEqual([]);
  });

  test("where it is the folder of the cache as well", async () => {
    clone = await cloneHostile(content);
    await mkdir(join(clone.around, "disk"));
    await symlink("../../disk", join(clone.root, ".dvc/cache"));
    for (const verb of ["pull", "status"]) expect((await clone.run(verb)).code).toBe(2);
    expect((await clone.run("pull", "--follow-link", ".dvc/cache")).code).toBe(0);
    expect((await clone.run("status", "--json")).stdout.trim()).toBe("{}");
    expect(await readdir(join(clone.around, "disk/files/md5"))).not.toEqual([]);
  });

  test("but a link inside the folder is not", async () => {
    const nested = folderObject({ "sub/a.txt": "one" });
    clone = await cloneHostile({ files: { "data.dvc": dataFile("data", nested.md5), ".gitignore": "/data\n" }, objects: nested.objects });
    await mkdir(join(clone.around, "disk"));
    await mkdir(join(clone.around, "victim"));
    await symlink(join(clone.around, "disk"), join(clone.root, "data"));
    await symlink(join(clone.around, "victim"), join(clone.around, "disk/sub"));
    const { code, stderr } = await clone.run("pull", "--follow-link", "data");
    expect([code, stderr]).toEqual([1, expect.stringContaining('E_DATA_UNSAVED: "data/sub" is a link to a folder')]);
    expect(await readdir(join(clone.around, "victim"))).toEqual([]);
  });

  test("a stage that writes below it runs", async () => {
    clone = await cloneHostile({
      files: { "dvc.yaml": "stages:\n  one:\n    cmd: mkdir -p data/set && echo 1 > data/set/a\n    outs: [data/set]\n" },
    });
    await mkdir(join(clone.around, "disk"));
    await symlink("../disk", join(clone.root, "data"));
    expect((await clone.run("repro")).code).toBe(2);
    const { code, stderr } = await clone.run("repro", "--follow-link", "data");
    expect([code, stderr]).toEqual([0, ""]);
    expect(await readFile(join(clone.around, "disk/set/a"), "utf8")).toBe("1\n");
    // Git sees no further than the link, so there is nothing to tell it about what is behind.
    expect(await readdir(join(clone.around, "disk"))).toEqual(["set"]);
  });

  test("but never to the repository itself, what is around it, or a folder of the tools", async () => {
    clone = await cloneHostile(content);
    for (const target of [".", "..", "/", ".git", ".dvc", "gone"]) {
      await rm(join(clone.root, "data"), { force: true });
      await symlink(target, join(clone.root, "data"));
      const { code, stderr } = await clone.run("pull", "--follow-link", "data");
      expect([target, code, stderr]).toEqual([target, 2, expect.stringContaining("E_PATH_LINK: --follow-link data: ")]);
    }
    for (const path of ["objects", "nothing", "..", ".dvc"]) {
      expect((await clone.run("pull", "--follow-link", path)).code).toBe(2);
    }
    expect(existsSync(join(clone.root, ".dvc/config.local"))).toBe(false);
  });
});

describe("a repository cannot allow itself a link", () => {
  const { md5, objects } = folderObject({ authorized_keys: "key" });
  const hostile = (config: Readonly<Record<string, string>>): HostileContent => ({
    files: { "data.dvc": dataFile("data", md5), ...config },
    links: { data: "../victim" },
    objects,
  });

  /** The line that would permit this link, except for the time at which the link was made here. */
  const permission = "[feature]\n    follow_links = data=/VICTIM@1764545406123456789\n";

  test.each([
    ["in .dvc/config", (text: string) => ({ ".dvc/config": `[core]\n    remote = own\n['remote "own"']\n    url = ../objects\n${text}` })],
    ["in a .dvc/config.local that is in Git", (text: string) => ({ ".dvc/config.local": text })],
  ])("%s", async (_, config) => {
    clone = await cloneHostile(hostile(config(permission)));
    await mkdir(join(clone.around, "victim"));
    const { code, stderr } = await clone.run("pull");
    expect([code, stderr]).toEqual([2, expect.stringMatching(/E_PATH_LINK|E_DVC_CONFIG/)]);
    expect(await readdir(join(clone.around, "victim"))).toEqual([]);
  });

  test("in a .dvc/config.local that came in an archive, which has no Git to ask", async () => {
    clone = await cloneHostile(hostile({ ".dvc/config.local": permission.replace("/VICTIM", "/tmp") }));
    await rm(join(clone.root, ".git"), { recursive: true });
    await mkdir(join(clone.around, "victim"));
    // The attacker guessed where the link leads on this machine, but not when it was made here.
    const path = join(clone.root, ".dvc/config.local");
    await writeFile(path, permission.replace("/VICTIM", join(clone.around, "victim")));
    const { code, stderr } = await clone.run("pull");
    expect([code, stderr]).toEqual([2, expect.stringContaining("E_PATH_LINK")]);
    expect(await readdir(join(clone.around, "victim"))).toEqual([]);
  });

  test("by making .dvc itself a link to files that are in Git", async () => {
    clone = await cloneHostile({
      files: { "real/config": `[core]\n    remote = own\n`, "real/config.local": permission, "data.dvc": dataFile("data", md5) },
      links: { data: "../victim" },
    });
    await rename(join(clone.root, ".dvc"), join(clone.root, "old"));
    await symlink("real", join(clone.root, ".dvc"));
    const { code, stderr } = await clone.run("pull");
    expect([code, stderr]).toEqual([2, expect.stringContaining("E_DVC_CONFIG")]);
  });
});

describe("serval gc removes nothing that a stranger's configuration points at", () => {
  const other = { "aa/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb": "another repository's data" };

  async function otherCache(dir: string): Promise<void> {
    for (const [name, text] of Object.entries(other)) {
      await mkdir(join(dir, "files/md5/aa"), { recursive: true });
      await writeFile(join(dir, "files/md5", name), text);
    }
  }

  test("as its cache", async () => {
    clone = await cloneHostile({ files: { ".dvc/config": "[cache]\n    dir = ../../other\n", "x.dvc": dataFile("x", md5Of("x")) } });
    await otherCache(join(clone.around, "other"));
    const { code, stderr } = await clone.run("gc", "--workspace", "--force");
    expect([code, stderr]).toEqual([1, expect.stringContaining("E_GC_UNSURE")]);
    expect(existsSync(join(clone.around, "other/files/md5/aa/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"))).toBe(true);
    expect((await clone.run("gc", "--workspace", "--dry")).code).toBe(0);
    // The user says that it is theirs.
    await writeFile(join(clone.root, ".dvc/config.local"), "[cache]\n    dir = ../../other\n");
    expect((await clone.run("gc", "--workspace", "--force")).code).toBe(0);
    expect(existsSync(join(clone.around, "other/files/md5/aa/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"))).toBe(false);
  });

  test("as its remote", async () => {
    clone = await cloneHostile({
      files: {
        ".dvc/config": `[core]\n    remote = own\n['remote "own"']\n    url = ../../other\n`,
        "x.dvc": dataFile("x", md5Of("x")),
      },
    });
    await otherCache(join(clone.around, "other"));
    const { code, stderr } = await clone.run("gc", "--workspace", "--cloud", "--force");
    expect([code, stderr]).toEqual([1, expect.stringContaining("E_GC_UNSURE")]);
    expect(existsSync(join(clone.around, "other/files/md5/aa/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"))).toBe(true);
  });

  test("by a link inside its cache", async () => {
    clone = await cloneHostile({
      files: { "x.dvc": dataFile("x", md5Of("x")), ".dvc/cache/files/md5/bb/keep": "" },
      links: { ".dvc/cache/files/md5/aa": "../../../../../other/files/md5/aa" },
    });
    await otherCache(join(clone.around, "other"));
    expect((await clone.run("gc", "--workspace", "--force")).code).toBe(0);
    expect(existsSync(join(clone.around, "other/files/md5/aa/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"))).toBe(true);
  });
});

describe("the pages and lists of a stranger's pipeline read nothing outside it", () => {
  const pipelines = [
    ["metrics: [../secret.json]", "metrics show"],
    ["params: [../secret.json]", "plots"],
    ["vars: [../secret.json]", "status"],
    ["metrics: [/tmp/secret.json]", "metrics show"],
    ["plots:\n  - ../secret.png", "plots"],
    ["plots:\n  - Title:\n      y: {../secret.csv: [a]}", "plots"],
    ["stages:\n  one:\n    cmd: go\n    wdir: ../..\n    outs: [x]", "status"],
    ["stages:\n  one:\n    cmd: go\n    outs: [/tmp/x]", "status"],
    ["stages:\n  one:\n    cmd: go\n    outs: [.git/config]", "repro"],
    ["stages:\n  one:\n    cmd: go\n    params: [../secret.json:]", "status"],
  ];

  test("nor do its stages write there", async () => {
    clone = await cloneHostile({ files: { "dvc.yaml": "" } });
    for (const name of ["secret.json", "secret.csv", "secret.png"]) await writeFile(join(clone.around, name), '{"password": "hunter2"}');
    for (const [yaml = "", verb = ""] of pipelines) {
      await writeFile(join(clone.root, "dvc.yaml"), `${yaml}\n`);
      const { code, stderr, stdout } = await clone.run(...verb.split(" "));
      expect([yaml, code, stderr]).toEqual([yaml, 2, expect.stringContaining("E_PIPELINE: dvc.yaml:")]);
      expect(stdout + stderr).not.toContain("hunter2");
    }
  });

  test("a stage may read what lies outside: its command could as well", async () => {
    clone = await cloneHostile({
      files: { "dvc.yaml": "stages:\n  one:\n    cmd: cp ../photo.txt copy\n    deps: [../photo.txt]\n    outs: [copy]\n" },
    });
    await writeFile(join(clone.around, "photo.txt"), "mine");
    const { code, stderr } = await clone.run("repro");
    expect([code, stderr]).toEqual([0, ""]);
    expect(await readFile(join(clone.root, "copy"), "utf8")).toBe("mine");
  });
});
