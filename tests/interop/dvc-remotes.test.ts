import { execFile, spawn, type ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { S3Client, CreateBucketCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { runCli } from "../../src/cli/main.ts";
import { recordedContext } from "../helpers/recorded-output.ts";
import { pythonProgram } from "./python.ts";

let base: string;
/** The repository that data is made in; a test may clone it. */
let cwd: string;
let env: NodeJS.ProcessEnv;

async function run(dir: string, program: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { cwd: dir, env, maxBuffer: 1 << 26 }).catch(
    (error: Error & { stdout?: string; stderr?: string }) => {
      throw new Error(`${program} ${args.join(" ")} failed:\n${error.stdout ?? ""}\n${error.stderr ?? error.message}`);
    },
  );
  return stdout;
}
const dvc = async (dir: string, ...args: string[]): Promise<string> => await run(dir, pythonProgram("dvc"), ...args);
const git = async (dir: string, ...args: string[]): Promise<string> =>
  await run(dir, "git", "-c", "user.name=test", "-c", "user.email=test@localhost", ...args);
/** In this process: starting one for each command would take most of the time. */
async function serval(dir: string, ...args: string[]): Promise<string> {
  const context = recordedContext(dir);
  const code = await runCli(args, context);
  if (code !== 0) throw new Error(`serval ${args.join(" ")} ended with ${code}:\n${context.stderr.text}`);
  return context.stdout.text;
}

async function write(dir: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), text);
  }
}

async function expectFiles(dir: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) expect(await readFile(join(dir, path), "utf8"), path).toBe(text);
}

async function makeRepository(config: string): Promise<string> {
  const dir = await mkdtemp(join(base, "repository-"));
  await git(dir, "init", "--quiet", "--initial-branch", "main");
  await write(dir, { ".dvc/config": config, ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n", ".gitignore": ".serval/\n" });
  return dir;
}

async function commit(dir: string, message: string): Promise<void> {
  await git(dir, "add", "--all");
  await git(dir, "commit", "--quiet", "--message", message);
}

async function clone(dir: string): Promise<string> {
  const copy = await mkdtemp(join(base, "clone-"));
  await git(base, "clone", "--quiet", dir, copy);
  return copy;
}

const names = [
  "a b.txt",
  "caf\u00e9",
  "cafe\u0301",
  "\u65e5".repeat(66) + "xx",
  "\u{1f981}",
  "it's",
  "#1",
  "100%",
  "- a: b",
  "true",
  "1e3",
];
const files = Object.fromEntries(names.map((name, i) => [`set/${i % 2 === 0 ? "even" : "odd"}/${name}`, `in ${name}`]));

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "serval-remotes-"));
  env = {
    ...process.env,
    PATH: [dirname(pythonProgram("dvc")), process.env["PATH"]].join(delimiter),
    DVC_NO_ANALYTICS: "1",
    DVC_SITE_CACHE_DIR: join(base, "site"),
  };
});
afterAll(() => rm(base, { recursive: true, force: true }));

describe("on a folder as the remote", () => {
  let remote: string;
  beforeEach(async () => {
    remote = await mkdtemp(join(base, "remote-"));
    cwd = await makeRepository(`[core]\n    remote = store\n['remote "store"']\n    url = ${remote}\n`);
  });

  test("dvc pulls what serval pushed, and the other way round, and both say that all is up to date", async () => {
    await write(cwd, { ...files, "one file": "alone" });
    await serval(cwd, "add", "set", "one file");
    await serval(cwd, "push");
    await commit(cwd, "by serval");
    const copy = await clone(cwd);
    await dvc(copy, "pull");
    await expectFiles(copy, { ...files, "one file": "alone" });
    expect(await dvc(copy, "status", "--cloud")).toBe("Cache and remote 'store' are in sync.\n");
    expect(await dvc(cwd, "status")).toBe("Data and pipelines are up to date.\n");

    await write(copy, { "set/new": "by dvc" });
    await dvc(copy, "add", "--quiet", "set");
    await dvc(copy, "push", "--quiet");
    await commit(copy, "by dvc");
    const third = await clone(copy);
    expect(JSON.parse(await serval(third, "pull", "--json"))).toMatchObject([{ restored: ["one file", "set"], missing: [] }]);
    await expectFiles(third, { ...files, "set/new": "by dvc", "one file": "alone" });
    expect(JSON.parse(await serval(third, "push", "--json"))).toMatchObject([{ objects: 0 }]);
  });

  test("serval add writes the same .dvc files as dvc add, whatever the names", async () => {
    const twin = await makeRepository("");
    const all = { ...files, ...Object.fromEntries(names.map((name) => [name, `alone in ${name}`])) };
    for (const dir of [cwd, twin]) await write(dir, all);
    await serval(cwd, "add", "set", "--", ...names);
    await dvc(twin, "add", "--quiet", "set", "--", ...names);
    for (const name of ["set", ...names]) {
      expect(await readFile(join(cwd, `${name}.dvc`), "utf8"), name).toBe(await readFile(join(twin, `${name}.dvc`), "utf8"));
    }
    expect(await readFile(join(cwd, ".gitignore"), "utf8")).toBe(await readFile(join(twin, ".gitignore"), "utf8"));
  });

  test("serval gc and dvc gc remove the same from cache and remote", async () => {
    for (const version of ["one", "two", "three"]) {
      await write(cwd, { "set/a": version, "set/b": "always" });
      await serval(cwd, "add", "set");
      await commit(cwd, version);
      await serval(cwd, "push");
      if (version === "two") await git(cwd, "branch", "two");
    }
    const said = async (...scope: string[]): Promise<string[]> => {
      const text = await dvc(cwd, "gc", "--dry", "--force", ...scope);
      return [...text.matchAll(/Removing .*\/(\w\w)\/(\w+(?:\.dir)?)$/gm)].map((match) => `${match[1]}${match[2]}`).sort();
    };
    const ours = async (...scope: string[]): Promise<{ cache: string[]; remote: string[] | undefined }> => {
      const { cache, remote } = JSON.parse(await serval(cwd, "gc", "--json", ...scope)) as Record<
        "cache" | "remote",
        { removed: string[] } | undefined
      >;
      return { cache: [...(cache?.removed ?? [])].sort(), remote: remote && [...remote.removed].sort() };
    };
    const workspace = await ours("--dry", "--workspace", "--cloud");
    expect(workspace.cache).toHaveLength(4);
    // dvc names what goes from the cache, then what goes from the remote.
    expect(await said("--workspace", "--cloud")).toEqual([...workspace.cache, ...(workspace.remote ?? [])].sort());
    const branches = await ours("--dry", "--all-branches");
    expect(branches.cache).toHaveLength(2);
    expect(await said("--all-branches")).toEqual(branches.cache);
    await write(cwd, { ".dvc/config.local": `['remote "store"']\n    url = ${remote}\n` });
    await ours("--force", "--all-branches", "--cloud");
    expect(await said("--all-branches", "--cloud")).toEqual([]);
  });
});

describe("on S3", () => {
  let moto: ChildProcess;
  let url: string;

  beforeAll(async () => {
    moto = spawn(pythonProgram("moto_server"), ["--host", "127.0.0.1", "--port", "0"], { env, stdio: ["ignore", "pipe", "pipe"] });
    url = await new Promise<string>((resolve, reject) => {
      let text = "";
      const listen = (chunk: Buffer): void => {
        text += chunk.toString();
        const found = /Running on (http:\/\/[\d.]+:\d+)/.exec(text)?.[1];
        if (found !== undefined) resolve(found);
      };
      moto.stdout?.on("data", listen);
      moto.stderr?.on("data", listen);
      moto.once("exit", (code) => reject(new Error(`moto_server ended with ${code}:\n${text}`)));
      moto.once("error", reject);
    });
    const client = new S3Client({
      endpoint: url,
      region: "us-east-1",
      forcePathStyle: true,
      credentials: { accessKeyId: "test", secretAccessKey: "test" },
    });
    await client.send(new CreateBucketCommand({ Bucket: "data" }));
    client.destroy();
  });
  afterAll(() => void moto.kill());

  test("dvc pulls what serval pushed, and the other way round", async () => {
    cwd = await makeRepository(`[core]\n    remote = s3\n['remote "s3"']\n    url = s3://data/some/where\n    endpointurl = ${url}\n`);
    // Where secrets belong.
    const secrets = `['remote "s3"']\n    access_key_id = test\n    secret_access_key = test\n`;
    await write(cwd, { ".dvc/config.local": secrets, ...files, "set/large": "0123456789abcdef".repeat(400_000) });
    await serval(cwd, "add", "set");
    await serval(cwd, "push");
    expect(await dvc(cwd, "status", "--cloud")).toBe("Cache and remote 's3' are in sync.\n");
    await commit(cwd, "by serval");
    const copy = await clone(cwd);
    await write(copy, { ".dvc/config.local": secrets });
    await dvc(copy, "pull");
    await expectFiles(copy, files);

    await write(copy, { "set/new": "by dvc" });
    await dvc(copy, "add", "--quiet", "set");
    await dvc(copy, "push", "--quiet");
    await commit(copy, "by dvc");
    const third = await clone(copy);
    await write(third, { ".dvc/config.local": secrets });
    expect(JSON.parse(await serval(third, "pull", "--json"))).toMatchObject([{ remote: "s3", restored: ["set"], missing: [] }]);
    await expectFiles(third, { ...files, "set/new": "by dvc" });
    expect(JSON.parse(await serval(third, "push", "--json"))).toMatchObject([{ objects: 0 }]);
  });
});
