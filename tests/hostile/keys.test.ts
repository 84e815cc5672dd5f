import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { sha256 } from "../../src/files.ts";
import { readApiKeys, type ApiKeys } from "../../src/serve/http/api-keys.ts";
import type { AccessRules } from "../../src/serve/http/rules.ts";
import { sendRequest, type RawReply } from "../helpers/raw-request.ts";
import { form, readReply, sendRaw, startTestService, type TestService, type TestServiceOptions } from "../helpers/service.ts";
import { colourPicture } from "../helpers/tiny-bundle.ts";

let picture: Buffer;
let root: string;
beforeAll(async () => {
  picture = await colourPicture("red");
  root = await mkdtemp(join(tmpdir(), "serval-access-"));
});
afterAll(async () => await rm(root, { recursive: true }));

async function start(access: AccessRules, service: TestServiceOptions["service"] = {}): Promise<TestService> {
  const started = await startTestService({ access, service });
  onTestFinished(async () => await started.close());
  return started;
}

async function keysOf(text: string): Promise<ApiKeys> {
  const path = join(root, "keys.txt");
  await writeFile(path, text);
  return await readApiKeys(path);
}

type Headers = Readonly<Record<string, string | string[]>>;

describe("API keys", () => {
  it("count only as they were made, in a header, whole and once", async () => {
    const keys = await keysOf(`alice ${sha256("Key-of-Alice")}\nbob ${sha256("schlüssel")}\n`);
    const service = await start({ keys });
    const { port } = service;
    const status = async (headers: Headers, path = "/model"): Promise<number> => (await sendRequest({ port, path, headers })).status;
    const bytes = Buffer.from("schlüssel").toString("latin1");
    for (const headers of [
      { "x-api-key": "Key-of-Alice" },
      { authorization: "bearer Key-of-Alice" },
      { authorization: "BEARER   Key-of-Alice" },
      { authorization: "Basic eDp5", "x-api-key": "Key-of-Alice" },
      { "x-api-key": bytes },
    ])
      expect([headers, await status(headers as Headers)]).toEqual([headers, 200]);
    for (const headers of [
      { "x-api-key": "key-of-alice" },
      { "x-api-key": "KEY-OF-ALICE" },
      { "x-api-key": "Key-of-Alic" },
      { "x-api-key": "Key-of-Alice2" },
      { "x-api-key": "Key-of-Alice\tx" },
      { "x-api-key": ["Key-of-Alice", "Key-of-Alice"] },
      { "x-api-key": ["wrong", "Key-of-Alice"] },
      { "x-api-key": Buffer.from("schlu\u0308ssel").toString("latin1") },
      { "x-api-key": sha256("Key-of-Alice") },
      { "x-api-key": "constructor" },
      { "x-api-key": "__proto__" },
      { "x-api-key": "x".repeat(15_000) },
      { authorization: "Bearer wrong", "x-api-key": "Key-of-Alice" },
      { authorization: "Bearer Key-of-Alice x" },
      { authorization: `Bearer ${" ".repeat(15_000)}` },
      { authorization: "Key-of-Alice" },
      { cookie: "x-api-key=Key-of-Alice" },
      { "x-forwarded-for": "127.0.0.1", "x-serval-peer": "1" },
    ])
      expect([headers, await status(headers as Headers)]).toEqual([headers, 401]);
    for (const query of ["x-api-key=Key-of-Alice", "api_key=Key-of-Alice", "authorization=Bearer%20Key-of-Alice"])
      expect([query, await status({}, `/model?${query}`)]).toEqual([query, 401]);
    // The headers of a request are bounded, and so is what is hashed of it.
    expect(await sendRaw(service, `GET /model HTTP/1.1\r\nhost: x\r\nx-api-key: ${"x".repeat(70_000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 4\d\d /,
    );
    expect(service.lines.join("")).not.toMatch(/Key-of-Alice|schl/);
  });

  it("do not slow the service down when a thousand wrong ones come, and none is written down", async () => {
    const service = await start({
      keys: await keysOf(`alice ${sha256("a")}
`),
    });
    const lane = async (lane: number): Promise<void> => {
      for (let i = 0; i < 125; i++) {
        const { status } = await fetch(`${service.url}/model`, { headers: { "x-api-key": `guess-${lane}-${i}` } });
        expect(status).toBe(401);
      }
    };
    await Promise.all(Array.from({ length: 8 }, async (_, i) => await lane(i)));
    expect((await sendRequest({ port: service.port, path: "/model", headers: { "x-api-key": "a" } })).status).toBe(200);
    expect(service.lines.join("") + (await (await fetch(`${service.url}/metrics`)).text())).not.toContain("guess");
  });
});

describe("feedback where the service has keys", () => {
  const lines = `alice ${sha256("a")}\nalice ${sha256("a2")}\nbob ${sha256("b")}\ncarol ${sha256("c")} reviewer\n`;
  const predict = async ({ url }: TestService, key: string): Promise<string> => {
    const init = { method: "POST", headers: { "x-api-key": key }, body: form(["file", picture]) };
    return (await readReply(await fetch(`${url}/predict`, init))).body.request_id as string;
  };
  const send = async ({ port }: TestService, key: string, id: string, label: string, more: Headers = {}): Promise<RawReply> =>
    await sendRequest({
      port,
      method: "POST",
      path: "/feedback",
      headers: { "content-type": "application/json", ...(key === "" ? {} : { "x-api-key": key }), ...more },
      body: JSON.stringify({ request_id: id, label }),
    });

  it("is for predictions of the same owner; a reviewer labels all; to others a prediction is unknown", async () => {
    const service = await start({ keys: await keysOf(lines) });
    const id = await predict(service, "a");
    expect((await send(service, "a", id, "blue")).status).toBe(202);
    // The owner's next key.
    expect((await send(service, "a2", id, "red")).status).toBe(202);
    const foreign = await send(service, "b", id, "blue");
    const unknown = await send(service, "b", "x".repeat(id.length), "blue");
    expect([foreign.status, foreign.body.error.code]).toEqual([404, "E_FEEDBACK_UNKNOWN"]);
    const shape = ({ body }: RawReply, sent: string): string => JSON.stringify({ ...body.error, request_id: "" }).replaceAll(sent, "ID");
    expect(shape(foreign, id)).toBe(shape(unknown, "x".repeat(id.length)));
    // Not even a wrong label tells that the prediction exists.
    expect((await send(service, "b", id, "purple")).status).toBe(404);
    expect((await send(service, "", id, "blue")).status).toBe(401);
    expect((await send(service, "c", id, "blue")).status).toBe(202);
    expect((await send(service, "c", id, "purple")).status).toBe(400);
  });

  it("holds for removing predictions as well: the owner's keys and reviewers may, to others they are unknown", async () => {
    const service = await start({ keys: await keysOf(lines) });
    const remove = async (key: string, id: string): Promise<number> =>
      (
        await sendRequest({
          port: service.port,
          method: "DELETE",
          path: `/predictions/${id}`,
          headers: key === "" ? {} : { "x-api-key": key },
        })
      ).status;
    const [first, second] = [await predict(service, "a"), await predict(service, "a")];
    expect([await remove("", first), await remove("b", first), await remove("a2", first), await remove("a2", first)]).toEqual([
      401, 404, 204, 404,
    ]);
    expect((await send(service, "a", second, "blue")).status).toBe(202);
    expect([await remove("c", second), (await send(service, "a", second, "blue")).status]).toEqual([204, 404]);
  });

  it("keeps that promise for every prediction: of a batch and of an explanation", async () => {
    const service = await start({ keys: await keysOf(lines) });
    const ask = async (path: string): Promise<string> => {
      const init = { method: "POST", headers: { "x-api-key": "a" }, body: form(["file", picture]) };
      return /"request_id":"([^"]+)"/.exec(await (await fetch(`${service.url}${path}`, init)).text())?.[1] ?? "";
    };
    for (const path of ["/predict", "/predict/batch", "/explain"]) {
      const id = await ask(path);
      expect([path, (await send(service, "b", id, "red")).status]).toEqual([path, 404]);
      expect([path, (await send(service, "", id, "red")).status]).toEqual([path, 401]);
      expect([path, (await send(service, "a", id, "red")).status]).toEqual([path, 202]);
      expect([path, (await send(service, "c", id, "blue")).status]).toEqual([path, 202]);
    }
  });

  it("is open to every key for what version 0.1 stored, and 0.1 can still store into the same file", async () => {
    const file = join(root, "shared.db");
    const old = new DatabaseSync(file);
    onTestFinished(() => old.close());
    old.exec(`
      CREATE TABLE predictions (
        request_id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, model_name TEXT NOT NULL, model_version TEXT NOT NULL,
        label TEXT NOT NULL, confidence REAL NOT NULL, probabilities TEXT NOT NULL
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE feedback (
        request_id TEXT PRIMARY KEY REFERENCES predictions (request_id), label TEXT NOT NULL, at_ms INTEGER NOT NULL
      ) STRICT, WITHOUT ROWID;
      PRAGMA user_version = 1;
    `);
    const store = old.prepare("INSERT OR IGNORE INTO predictions VALUES (?, ?, ?, ?, ?, ?, ?)");
    const row = [1, "colours", "1", "red", 1, '{"red":1,"blue":0}'] as const;
    store.run("before", ...row);
    const service = await start({ keys: await keysOf(lines) }, { predictionLogFile: file });
    expect((await send(service, "b", "before", "blue")).status).toBe(202);
    store.run("beside", ...row);
    old.prepare("INSERT OR REPLACE INTO feedback VALUES (?, ?, ?)").run("beside", "red", 2);
    expect((await send(service, "a", "beside", "red")).status).toBe(200);
    const id = await predict(service, "a");
    expect((await send(service, "a", id, "red")).status).toBe(202);
    expect(old.prepare("SELECT request_id, key_name FROM prediction_keys").all()).toEqual([{ request_id: id, key_name: "alice" }]);
    expect(old.prepare("PRAGMA user_version").get()).toEqual({ user_version: 1 });
  });
});
