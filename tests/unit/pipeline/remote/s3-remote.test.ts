import { chmod, readdir, readFile, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fetchOuts } from "../../../../src/pipeline/remote/fetch.ts";
import { findExisting } from "../../../../src/pipeline/remote/find-existing.ts";
import { pullOuts } from "../../../../src/pipeline/remote/pull.ts";
import { pushOuts } from "../../../../src/pipeline/remote/push.ts";
import { flipBit, makeDataRepository, md5Of, type DataRepository } from "../../../helpers/data-repository.ts";
import { startObjectStore, type ObjectStore } from "../../../helpers/object-store.ts";
import { runServal, startServal } from "../../../helpers/serval-process.ts";

let store: ObjectStore;
let repository: DataRepository;
const keyOf = (md5: string): string => `pre/fix/files/md5/${md5.slice(0, 2)}/${md5.slice(2)}`;
const files = { "set/a": "one", "set/b": "two", "set/deep/c": "three" };

beforeEach(async () => {
  store = await startObjectStore();
  repository = await makeDataRepository();
  await repository.configure(`[core]
    remote = store
['remote "store"']
    url = s3://data/pre/fix
    endpointurl = ${store.url}
    access_key_id = test
    secret_access_key = test
    read_timeout = 1
`);
});
afterEach(async () => {
  await repository.remove();
  await store.close();
});

async function addSet(): Promise<{ path: string; md5: string }[]> {
  await repository.write(files);
  return await repository.add("set");
}

async function expectWhole(): Promise<void> {
  for (const [path, text] of Object.entries(files)) expect(await readFile(join(repository.root, path), "utf8")).toBe(text);
}

/** Nothing that is not finished lies about, under a final name or another. */
async function expectOnly(...md5s: string[]): Promise<void> {
  const names = await readdir(join(repository.root, ".dvc/cache/files"), { recursive: true, withFileTypes: true });
  const objects = names.filter((entry) => entry.isFile()).map((entry) => entry.parentPath.slice(-2) + entry.name);
  expect(objects.sort()).toEqual(md5s.sort());
}

describe("push and pull over S3", () => {
  test("bring the same bytes to a clone, the manifest after its files, and nothing twice", async () => {
    const outs = await addSet();
    const manifest = outs[0]!.md5;
    const link = await repository.link();
    expect(await pushOuts(repository.root, repository.cache, link, outs)).toMatchObject({ objects: 4, present: 0 });
    expect([...store.objects.keys()].sort()).toEqual([...["one", "two", "three"].map(md5Of), manifest].map(keyOf).sort());
    expect(store.requests.filter((request) => request.startsWith("PUT")).at(-1)).toBe(`PUT ${keyOf(manifest)}`);
    expect(await pushOuts(repository.root, repository.cache, link, outs)).toMatchObject({ objects: 0, present: 4 });

    await repository.forget("set");
    expect(await pullOuts(repository.cache, link, outs)).toMatchObject({ objects: 4, restored: ["set"], missing: [] });
    await expectWhole();
    expect((await stat(repository.object(md5Of("one")))).mode & 0o777).toBe(0o444);
    store.requests.length = 0;
    expect(await pullOuts(repository.cache, link, outs)).toMatchObject({ objects: 0, restored: ["set"] });
    expect(store.requests).toEqual([]);
  });

  test("send an empty file, and one of many chunks", async () => {
    const large = "0123456789abcdef".repeat(80_000);
    await repository.write({ "set/empty": "", "set/large": large });
    const outs = await repository.add("set");
    const link = await repository.link();
    await pushOuts(repository.root, repository.cache, link, outs);
    expect(store.objects.get(keyOf(md5Of(large)))?.toString()).toBe(large);
    await repository.forget("set");
    await pullOuts(repository.cache, link, outs);
    expect(await readFile(join(repository.root, "set/large"), "utf8")).toBe(large);
    expect((await stat(join(repository.root, "set/empty"))).size).toBe(0);
  });

  test("continue after a 500, a throttling, a connection that is cut, a stall, and a bit that flips", async () => {
    const outs = await addSet();
    const link = await repository.link();
    store.faults.push(
      { method: "HEAD", kind: 500, times: 1 },
      { method: "PUT", key: new RegExp(keyOf(md5Of("one"))), kind: 503, times: 2 },
      { method: "PUT", key: new RegExp(keyOf(md5Of("two"))), kind: "cut", times: 1 },
      { method: "PUT", key: new RegExp(keyOf(md5Of("three"))), kind: "stall", times: 1 },
      { method: "PUT", key: /\.dir$/, kind: "flip", times: 1 },
    );
    await pushOuts(repository.root, repository.cache, link, outs);
    expect(store.faults.every(({ times }) => times === 0)).toBe(true);
    expect(store.objects.get(keyOf(md5Of("three")))?.toString()).toBe("three");

    await repository.forget("set");
    store.faults.push(
      { method: "GET", key: /\.dir$/, kind: 500, times: 2 },
      { method: "GET", key: new RegExp(keyOf(md5Of("one"))), kind: "cut", times: 2 },
      { method: "GET", key: new RegExp(keyOf(md5Of("two"))), kind: "stall", times: 1 },
      { method: "GET", key: new RegExp(keyOf(md5Of("three"))), kind: "flip", times: 1 },
    );
    expect(await pullOuts(repository.cache, link, outs)).toMatchObject({ objects: 4, restored: ["set"], corrupt: [] });
    expect(store.faults.every(({ times }) => times === 0)).toBe(true);
    await expectWhole();
  });

  test.each([
    [500, "HTTP 500 InternalError: The store says InternalError"],
    ["cut", "aborted"],
    ["stall", "no byte moved for 1 s"],
  ] as const)("give up in the end on a remote that keeps failing with %s, and install nothing", async (kind, reason) => {
    const outs = await addSet();
    const link = await repository.link({ attempts: 2 });
    await pushOuts(repository.root, repository.cache, link, outs);
    await repository.forget("set");
    store.faults.push({ method: "GET", key: /\.dir$/, kind, times: 99 });
    const failure = await pullOuts(repository.cache, link, outs).then(String, (error: Error) => error);
    const address = `s3://data/${keyOf(outs[0]!.md5)}`;
    expect(failure).toMatchObject({
      code: "E_REMOTE_UNREACHABLE",
      message: `Remote "store": download "${address}": failed 2 times, at last with: ${reason}.`,
      details: { object: outs[0]!.md5, attempts: 2 },
    });
    await expectOnly();
  });

  test("do not repeat what a remote refuses", async () => {
    const outs = await addSet();
    store.faults.push({ method: "PUT", kind: 403, times: 99 });
    const failure = await pushOuts(repository.root, repository.cache, await repository.link(), outs).then(String, (error: Error) => error);
    expect(failure).toMatchObject({ code: "E_REMOTE_REFUSED", message: expect.stringContaining("HTTP 403 AccessDenied") as string });
    const puts = store.requests.filter((request) => request.startsWith("PUT"));
    expect(new Set(puts).size).toBe(puts.length);
  });

  test("say that there is no such bucket, and that nothing listens", async () => {
    const outs = await addSet();
    const config = await readFile(join(repository.root, ".dvc/config"), "utf8");
    await repository.configure(config.replace("s3://data/", "s3://other/"));
    await expect(pushOuts(repository.root, repository.cache, await repository.link(), outs)).rejects.toMatchObject({
      code: "E_REMOTE_REFUSED",
      message: expect.stringContaining("NoSuchBucket") as string,
    });
    await repository.configure(config);
    await store.close();
    await expect(pushOuts(repository.root, repository.cache, await repository.link(), outs)).rejects.toMatchObject({
      code: "E_REMOTE_UNREACHABLE",
      message: expect.stringContaining("ECONNREFUSED") as string,
    });
  });

  test("name an object that is damaged on the remote, take the others, and leave the out alone", async () => {
    await repository.write({ other: "whole" });
    const outs = [...(await addSet()), ...(await repository.add("other"))];
    const link = await repository.link();
    await pushOuts(repository.root, repository.cache, link, outs);
    store.objects.set(keyOf(md5Of("two")), Buffer.from("twO"));
    await repository.forget("set", "other");
    const result = await pullOuts(repository.cache, link, outs);
    expect(result).toMatchObject({ restored: ["other"], missing: ["set"] });
    expect(result.corrupt.map(({ code, message }) => [code, message])).toEqual([
      [
        "E_REMOTE_CORRUPT",
        `Remote "store": "s3://data/${keyOf(md5Of("two"))}" (set/b): expected the MD5 ${md5Of("two")}, got ${md5Of("twO")}.`,
      ],
    ]);
    await expectOnly(...["one", "three", "whole"].map(md5Of), outs[0]!.md5);
    await expect(stat(join(repository.root, "set"))).rejects.toThrow("ENOENT");
  });

  test("say what the remote does not have", async () => {
    const outs = await addSet();
    const link = await repository.link();
    await pushOuts(repository.root, repository.cache, link, outs);
    store.objects.delete(keyOf(md5Of("two")));
    await repository.forget("set");
    expect(await pullOuts(repository.cache, link, outs)).toMatchObject({ objects: 3, restored: [], missing: ["set"], corrupt: [] });
    store.objects.clear();
    await repository.forget("set");
    expect(await fetchOuts(repository.cache, link, outs)).toMatchObject({ objects: 0, missing: ["set"] });
  });

  test.each([
    ["a flipped bit", flipBit],
    [
      "its end cut off",
      async (path: string) => {
        await chmod(path, 0o644);
        await truncate(path, 2);
        await chmod(path, 0o444);
      },
    ],
  ])("never send an object with %s, nor the manifest that needs it", async (_, damage) => {
    const outs = await addSet();
    await damage(repository.object(md5Of("two")));
    const link = await repository.link();
    await expect(pushOuts(repository.root, repository.cache, link, outs)).rejects.toMatchObject({
      code: "E_CACHE_CORRUPT",
      message: expect.stringContaining("(set/b): expected the MD5 " + md5Of("two")) as string,
    });
    expect([...store.objects.keys()].sort()).toEqual(["one", "three"].map((text) => keyOf(md5Of(text))).sort());
    expect(await readdir(join(repository.root, ".dvc/tmp/corrupt"))).toEqual([md5Of("two")]);
    // The workspace still has the file: adding it again repairs the cache, and the push continues.
    await repository.add("set");
    expect(await pushOuts(repository.root, repository.cache, link, outs)).toMatchObject({ objects: 2, present: 2 });
  });

  test("push what is there, and then say what is not", async () => {
    const outs = await addSet();
    await rm(repository.object(md5Of("two")), { force: true });
    await expect(pushOuts(repository.root, repository.cache, await repository.link(), outs)).rejects.toMatchObject({
      code: "E_CACHE_MISSING",
      details: { paths: ["set/b"] },
    });
    expect([...store.objects.keys()].sort()).toEqual(["one", "three"].map((text) => keyOf(md5Of(text))).sort());
  });
});

test("the objects of a remote are found by asking for few, and by lists of many pages for many", async () => {
  const link = await repository.link();
  const md5s = Array.from({ length: 300 }, (_, i) => md5Of(`object ${i}`));
  for (const md5 of md5s.slice(0, 250)) store.objects.set(keyOf(md5), Buffer.from("-"));
  store.objects.set("pre/fix/files/md5/zz/not-an-object", Buffer.from("-"));
  store.pageSize = 7;
  expect([...(await findExisting(link, md5s))].sort()).toEqual(md5s.slice(0, 250).sort());
  expect(store.requests.every((request) => request === "GET ")).toBe(true);
  store.requests.length = 0;
  expect([...(await findExisting(link, md5s.slice(240, 260)))].sort()).toEqual(md5s.slice(240, 250).sort());
  expect(store.requests).toHaveLength(20);
});

test("address, region and credentials come from the usual variables where .dvc/config has none", async () => {
  await repository.configure("[core]\n    remote = store\n['remote \"store\"']\n    url = s3://data\n");
  await repository.write({ a: "one" });
  await repository.add("a");
  const env = {
    AWS_ENDPOINT_URL: "http://127.0.0.1:1",
    AWS_ENDPOINT_URL_S3: store.url,
    AWS_DEFAULT_REGION: "eu-central-1",
    AWS_ACCESS_KEY_ID: "key",
    AWS_SECRET_ACCESS_KEY: "secret",
  };
  const { code, stderr } = await runServal(repository.root, ["push"], env);
  expect([code, stderr]).toEqual([0, ""]);
  // The bucket is a part of the path, as on every store that is not Amazon's.
  expect([...store.objects.keys()]).toEqual([`files/md5/${md5Of("one").slice(0, 2)}/${md5Of("one").slice(2)}`]);
});

test("a pull that was killed half way leaves whole objects only, and the next one fetches the rest", async () => {
  const texts = Array.from({ length: 40 }, (_, i) => `file ${i} `.repeat(1000));
  await repository.write(Object.fromEntries(texts.map((text, i) => [`set/${i}`, text])));
  const outs = await repository.add("set");
  await pushOuts(repository.root, repository.cache, await repository.link(), outs);
  await repository.forget("set");
  // Twenty objects have been asked for; the twenty-first never gets an answer.
  const half = Promise.withResolvers<void>();
  let gets = 0;
  store.onRequest = async (request) => {
    if (!request.startsWith("GET pre/") || ++gets <= 20) return;
    half.resolve();
    await new Promise(() => undefined);
  };
  const killed = startServal(repository.root, ["pull", "-j", "4"]);
  await half.promise;
  await killed.stop("SIGKILL");
  const left = await readdir(join(repository.root, ".dvc/cache/files/md5"), { recursive: true, withFileTypes: true });
  const whole = left.filter((entry) => entry.isFile());
  expect(whole.length).toBeGreaterThan(10);
  expect(whole.length).toBeLessThan(40);
  for (const { parentPath, name } of whole) {
    const text = await readFile(join(parentPath, name), "utf8");
    expect(md5Of(text)).toBe((parentPath.slice(-2) + name).slice(0, 32));
  }
  store.onRequest = () => undefined;
  const again = startServal(repository.root, ["pull", "--json"]);
  const { code, stdout } = await again.ended;
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject([{ objects: 41 - whole.length, restored: ["set"] }]);
  expect(await readFile(join(repository.root, "set/39"), "utf8")).toBe(texts[39]);
  expect(await readdir(join(repository.root, ".dvc/cache/files"))).toEqual(["md5"]);
});
