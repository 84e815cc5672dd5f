import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ServalError } from "../../../src/errors/serval-error.ts";
import type { RemoteLink } from "../../../src/pipeline/remote/link.ts";
import { pullOuts } from "../../../src/pipeline/remote/pull.ts";
import { makeDataRepository, md5Of, type DataRepository } from "../../helpers/data-repository.ts";
import { drip, endless, endlessHeaders, page, redirect, startLyingServer, type Lie, type LyingServer } from "../../helpers/lying-server.ts";

let store: LyingServer;
/** An address that the user did not give. */
let canary: LyingServer;
let repository: DataRepository;
const wanted = { path: "file", md5: md5Of("content"), size: 7 };

beforeEach(async () => {
  [store, canary] = [await startLyingServer(), await startLyingServer()];
  repository = await makeDataRepository();
  await repository.configure(`[core]
    remote = store
['remote "store"']
    url = s3://data/pre
    endpointurl = ${store.url}
    access_key_id = test
    secret_access_key = test
    session_token = token-that-is-not-read
    read_timeout = 1
`);
});
afterEach(async () => {
  expect(canary.requests).toEqual([]);
  await repository.remove();
  for (const one of [store, canary]) await one.close();
});

/** A pull and a list fail with a remote's error, soon, and nothing is left in the cache or the workspace. */
async function expectFailures(lie: Lie, code: RegExp, message = /./): Promise<void> {
  store.answer = lie;
  const pull = async (link: RemoteLink): Promise<unknown> => await pullOuts(repository.cache, link, [{ ...wanted, size: 1000 }]);
  const list = async (link: RemoteLink): Promise<unknown> => await link.attempt("list", "", (request) => link.remote.list("", request));
  const before = process.memoryUsage().rss;
  await Promise.all(
    [pull, list].map(async (send) => {
      const startedAt = performance.now();
      const link = await repository.link({ attempts: 2, delayMs: 1 });
      const failure = await send(link).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(ServalError);
      expect((failure as ServalError).code).toMatch(code);
      expect((failure as ServalError).message).toMatch(message);
      expect((failure as ServalError).message.length).toBeLessThan(700);
      expect(performance.now() - startedAt).toBeLessThan(6000);
    }),
  );
  expect(process.memoryUsage().rss - before).toBeLessThan(300e6);
  await expectNothing();
}

async function expectNothing(): Promise<void> {
  expect(await readdir(join(repository.root, ".dvc/cache/files"), { recursive: true }).catch(() => [])).toEqual([]);
  expect((await readdir(repository.root)).filter((name) => name !== ".dvc" && name !== ".serval")).toEqual([]);
}

const xml = (text: string): Lie => {
  return (_request, response) => response.writeHead(200, { "content-type": "application/xml" }).end(text);
};
const listOf = (keys: readonly string[], next = ""): Lie => {
  const contents = keys.map((key) => `<Contents><Key>${key}</Key><Size>1</Size></Contents>`).join("");
  const more = next === "" ? "" : `<NextContinuationToken>${next}</NextContinuationToken>`;
  return xml(`<ListBucketResult><IsTruncated>${next !== ""}</IsTruncated>${more}${contents}</ListBucketResult>`);
};

describe("a store that sends requests elsewhere is not obeyed", () => {
  test.each([301, 302, 303, 307, 308])("with %i", async (status) => {
    await expectFailures(redirect(`${canary.url}/x`, status), /^E_REMOTE_(REFUSED|UNREACHABLE)$/);
  });

  test("nor with another region or endpoint", async () => {
    for (const region of ["eu-west-1", `x@${canary.host}/#`, "../../x"]) {
      await expectFailures((_request, response) => {
        const body = `<Error><Code>PermanentRedirect</Code><Endpoint>${canary.host}</Endpoint><Region>${region}</Region></Error>`;
        response.writeHead(301, { "x-amz-bucket-region": region, location: `${canary.url}/x` }).end(body);
      }, /^E_REMOTE_(REFUSED|UNREACHABLE)$/);
    }
  });
});

describe("a store that does not end", () => {
  test("its answers: a list, and an object of 7 bytes", async () => {
    const lie = endless();
    store.answer = lie;
    const link = await repository.link({ attempts: 2, delayMs: 1 });
    const result = await pullOuts(repository.cache, link, [wanted]);
    expect(result.corrupt.map(({ message }) => message)).toEqual([expect.stringContaining("got more than the 7 bytes that are recorded")]);
    expect(lie.sent).toBeLessThan(20e6);
    const list = link.attempt("list", "", (request) => link.remote.list("", request));
    await expect(list).rejects.toMatchObject({ code: "E_REMOTE_UNREACHABLE", message: /an answer of more than 8388608 bytes/ });
    expect(lie.sent).toBeLessThan(60e6);
    await expectNothing();
  });

  test("its refusals", async () => {
    const lie = endless(403);
    await expectFailures(lie, /^E_REMOTE_(REFUSED|UNREACHABLE)$/);
    expect(lie.sent).toBeLessThan(150e6);
  });

  test("its answers, of a byte now and then", async () =>
    await expectFailures(drip(100), /UNREACHABLE/, /only \d+ bytes moved for 1 s|for 1 s/));
  test("its headers", async () => await expectFailures(endlessHeaders(100), /UNREACHABLE/));
  test("its 503", async () => {
    await expectFailures(page(503), /^E_REMOTE_UNREACHABLE$/, /failed 2 times/);
    expect(store.requests).toHaveLength(4);
  });

  test("its pages: the same again, or empty ones", async () => {
    const key = `pre/files/md5/${"a".repeat(2)}/${"b".repeat(30)}`;
    let pages = 0;
    for (const lie of [listOf([key], "again"), (...call: Parameters<Lie>) => listOf([], `t${pages++}`)(...call)]) {
      store.answer = lie;
      store.requests.length = 0;
      const link = await repository.link();
      const list = link.attempt("list", "", (request) => link.remote.list("", request));
      await expect(list).rejects.toMatchObject({ code: "E_REMOTE_REFUSED", message: /pages that do not end/ });
      expect(store.requests.length).toBeLessThan(110);
    }
  });
});

describe("a store whose answers are not what they say", () => {
  test("objects with other bytes, another length or a wrong ETag are not taken", async () => {
    const bodies: readonly Lie[] = [
      (_request, response) => response.writeHead(200, { etag: `"${wanted.md5}"`, "content-length": 7 }).end("CONTENT"),
      (_request, response) => response.writeHead(200, { etag: `"${wanted.md5}"`, "content-length": 8 }).end("content!"),
      (_request, response) => response.writeHead(200, { "content-length": 0 }).end(),
      (_request, response) => response.writeHead(206, { "content-length": 3 }).end("con"),
    ];
    for (const body of bodies) {
      store.answer = body;
      const result = await pullOuts(repository.cache, await repository.link({ attempts: 2, delayMs: 1 }), [wanted]);
      expect(result).toMatchObject({ restored: [], missing: ["file"], corrupt: [{ code: "E_REMOTE_CORRUPT" }] });
      await expectNothing();
    }
  });

  test("keys that lead elsewhere are not objects", async () => {
    const digits = "b".repeat(30);
    const keys = [
      "../../etc/passwd",
      `pre/files/md5/../../x`,
      `pre/files/md5/aa/../${digits}`,
      `/pre/files/md5/aa/${digits}`,
      "",
      "a\\b",
      "x".repeat(1000),
    ];
    store.answer = listOf([...keys, `pre/files/md5/aa/${digits}`]);
    const link = await repository.link();
    const objects = await link.attempt("list", "", (request) => link.remote.list("", request));
    expect(objects).toEqual([{ md5: `aa${digits}`, size: 1 }]);
  });

  test("answers that are not XML, too deep, or full of entities", async () => {
    const entities = `<!DOCTYPE x [<!ENTITY a "${"x".repeat(1000)}">${"bcdefgh"
      .split("")
      .map((name, i) => `<!ENTITY ${name} "${`&${"abcdefg"[i]};`.repeat(10)}">`)
      .join("")}]>`;
    for (const text of [
      "not XML",
      "<",
      "<a>".repeat(50_000),
      `${entities}<ListBucketResult><Contents><Key>&h;</Key></Contents></ListBucketResult>`,
    ]) {
      store.answer = xml(text);
      const startedAt = performance.now();
      const link = await repository.link({ attempts: 1 });
      const list = await link.attempt("list", "", (request) => link.remote.list("", request)).catch((error: unknown) => error);
      expect(list instanceof ServalError ? list.code : list).toEqual(list instanceof ServalError ? "E_REMOTE_UNREACHABLE" : []);
      expect(performance.now() - startedAt).toBeLessThan(3000);
    }
  });

  test("manifests of a folder that lead elsewhere", async () => {
    for (const relpath of ["../x", "/etc/x", "a/../../x"]) {
      const manifest = JSON.stringify([{ md5: md5Of("content"), relpath }]);
      store.answer = ({ url = "" }, response) => response.end(url.includes(".dir") ? manifest : "content");
      const md5 = `${createHash("md5").update(manifest).digest("hex")}.dir`;
      const link = await repository.link({ attempts: 1 });
      const failure = await pullOuts(repository.cache, link, [{ path: "set", md5, size: 7 }]).catch((error: unknown) => error);
      expect(failure).toBeDefined();
      expect((await readdir(repository.root, { recursive: true })).filter((name) => /(^|\/)x$/.test(name))).toEqual([]);
    }
  });
});

test("what a store says does not reach the terminal raw", async () => {
  store.answer = (_request, response) => {
    response.writeHead(403, { "content-type": "application/xml" });
    response.end("<Error><Code>Access\u001b[2JDenied</Code><Message>no \u001b]0;owned\u0007\u009b31m</Message></Error>");
  };
  await repository.write({ "file.dvc": `outs:\n  - md5: ${wanted.md5}\n    size: 7\n    hash: md5\n    path: file\n` });
  const { code, stderr } = await repository.run("pull");
  expect(code).toBe(2);
  expect(stderr).toContain("E_REMOTE_REFUSED");
  // oxlint-disable-next-line no-control-regex -- none of them may be left
  expect(stderr).not.toMatch(/[\0-\x08\x0b-\x1f\x7f-\x9f]/);
});
