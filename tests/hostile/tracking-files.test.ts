import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ask, askRaw, createRun, post, startTracking } from "../helpers/tracking-server.ts";

const proxy = "/api/2.0/mlflow-artifacts/artifacts";

async function put(url: string, path: string, body: NonNullable<RequestInit["body"]>): Promise<[number, string | undefined]> {
  const { status, body: answer } = await ask(`${url}${proxy}/${path}`, { method: "PUT", body });
  return [status, answer.error_code];
}

/** Sends a head and then chunks without end, until the server answers and closes. */
async function uploadWithoutEnd(url: string, path: string, head: string, chunk: Buffer): Promise<{ answer: string; sent: number }> {
  const socket = connect(Number(new URL(url).port), "127.0.0.1").on("error", () => undefined);
  let sent = 0;
  const send = (): void => {
    while (!socket.destroyed && socket.write(chunk)) sent += chunk.length;
  };
  socket.on("drain", send);
  socket.write(`PUT ${proxy}/${path} HTTP/1.1\r\nhost: localhost\r\n${head}\r\n\r\n`, send);
  let answer = "";
  socket.setEncoding("utf8").on("data", (part: string) => (answer += part));
  // Cut off while it sends, it gets no end but an error.
  if (!socket.closed) await once(socket, "close").catch(async () => await once(socket, "close"));
  return { answer, sent };
}

it("an upload over the limit of a file is refused, with a length, without one, and with a false one; nothing of it is left", async () => {
  const { url, dir } = await startTracking({ artifactLimits: { maxFileBytes: 100_000 } });
  expect(await put(url, "0/run/a", Buffer.alloc(100_000))).toEqual([200, undefined]);
  expect(await put(url, "0/run/a", Buffer.alloc(100_001))).toEqual([413, "RESOURCE_EXHAUSTED"]);
  const chunks = new Blob([Buffer.alloc(300_000)]).stream();
  // `duplex` is not in the types of fetch yet.
  const endless = { method: "PUT", body: chunks, duplex: "half" } as unknown as RequestInit;
  expect((await ask(`${url}${proxy}/0/run/b`, endless)).status).toBe(413);
  const part = Buffer.concat([Buffer.from("10000\r\n"), Buffer.alloc(65_536), Buffer.from("\r\n")]);
  for (const [head, chunk] of [
    ["transfer-encoding: chunked", part],
    ["content-length: 9000000000000000", Buffer.alloc(65_536)],
  ] as const) {
    const { answer, sent } = await uploadWithoutEnd(url, "0/run/c", head, chunk);
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    // The server reads on for clients that send all before they read, and then no more.
    expect(sent).toBeLessThan(200 * 1024 ** 2);
  }
  expect(await readdir(join(dir, "uploads"))).toEqual([]);
  expect(await readdir(join(dir, "artifacts/0/run"))).toEqual(["a"]);
  expect((await readFile(join(dir, "artifacts/0/run/a"))).length).toBe(100_000);
});

it("the files of a run, and those of a logged model, have a limit in all, which uploads at the same time do not get around", async () => {
  const { url, dir } = await startTracking({ artifactLimits: { maxRunBytes: 1_000_000 } });
  for (const folder of ["0/run/artifacts", "0/models/m-1/artifacts"]) {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => put(url, `${folder}/${i}`, Buffer.alloc(100_000))));
    const kept = answers.filter(([status]) => status === 200).length;
    expect(answers.filter(([status]) => status === 413)).toHaveLength(20 - kept);
    expect(kept).toBeLessThanOrEqual(10);
    // What was refused for the sake of others that were refused as well goes through alone.
    for (let i = kept; i < 10; i++) expect((await put(url, `${folder}/more${i}`, Buffer.alloc(100_000)))[0]).toBe(200);
    expect(await put(url, `${folder}/one`, "x")).toEqual([413, "RESOURCE_EXHAUSTED"]);
    expect(await readdir(join(dir, "uploads"))).toEqual([]);
  }
  // Another run has its own limit, and deleting makes room.
  expect((await put(url, "0/other/artifacts/a", "x"))[0]).toBe(200);
  expect((await ask(`${url}${proxy}/0/run`, { method: "DELETE" })).status).toBe(200);
  expect((await put(url, "0/run/artifacts/a", "x"))[0]).toBe(200);
});

it("a disk with less free space than required accepts everything but files", async () => {
  const { url } = await startTracking({ artifactLimits: { minFreeBytes: Number.MAX_SAFE_INTEGER } });
  expect(await put(url, "0/run/a", "x")).toEqual([507, "RESOURCE_EXHAUSTED"]);
  expect(await createRun(url)).toMatch(/^[0-9a-f]{32}$/);
});

it("500 uploads at the same time all arrive, and /health answers meanwhile", async () => {
  const { url, dir } = await startTracking();
  const uploads = Array.from({ length: 500 }, (_, i) => put(url, `0/run/artifacts/${i % 20}/${i}`, Buffer.alloc(20_000, i % 251)));
  const all = Promise.all(uploads);
  const running = new Set([all]);
  void all.finally(() => running.clear());
  const waits: number[] = [];
  while (running.size > 0) {
    const start = performance.now();
    expect((await ask(`${url}/health`)).status).toBe(200);
    waits.push(performance.now() - start);
  }
  expect((await all).filter(([status]) => status !== 200)).toEqual([]);
  expect(await readFile(join(dir, "artifacts/0/run/artifacts/19/499"))).toEqual(Buffer.alloc(20_000, 499 % 251));
  expect(await readdir(join(dir, "uploads"))).toEqual([]);
  expect(Math.max(...waits)).toBeLessThan(5000);
}, 120_000);

it("a path that no file system takes is refused as such, and a file that vanishes from a folder is left out of its list", async () => {
  const { url } = await startTracking();
  for (const path of [
    "a".repeat(256),
    "é".repeat(128),
    "a/".repeat(1800) + "b",
    "x".repeat(5000),
    "%00",
    "..",
    ".%2e",
    "a%5cb",
    "con%0a",
  ]) {
    const { status } = await askRaw(url, "PUT", `${proxy}/${path.includes("%") ? path : encodeURI(path)}`, {}, "x");
    expect([path.slice(0, 20), status]).toEqual([path.slice(0, 20), expect.toSatisfy((code: number) => [400, 404, 414].includes(code))]);
  }
  expect((await put(url, "a".repeat(255), "x"))[0]).toBe(200);
  const writers = Array.from({ length: 40 }, async (_, i) => {
    await put(url, `0/run/${i}`, "x");
    await ask(`${url}${proxy}/0/run/${i}`, { method: "DELETE" });
  });
  const lists = Array.from({ length: 40 }, async () => (await ask(`${url}${proxy}?path=0/run`)).status);
  await Promise.all(writers);
  expect(new Set(await Promise.all(lists))).toEqual(new Set([200]));
});

it.each(["page.html", "drawing.svg", "page.xhtml", "data.xml", "script.js", "noending", "trick.png.html", "quote'\"<>.html"])(
  "an uploaded %s runs no script on the server's origin: it is an attachment in a sandbox",
  async (name) => {
    const { url } = await startTracking();
    const run = await createRun(url);
    await put(
      url,
      `0/${run}/artifacts/${encodeURIComponent(name)}`,
      "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/><script>alert(1)</script>",
    );
    for (const address of [
      `${proxy}/0/${run}/artifacts/${encodeURIComponent(name)}`,
      `/get-artifact?run_id=${run}&path=${encodeURIComponent(name)}`,
    ]) {
      const { headers } = await fetch(`${url}${address}`);
      expect(headers.get("content-type")).not.toMatch(/html|xml(?!$)|javascript/);
      expect(headers.get("content-disposition")).toMatch(/^attachment; filename="[^"]*"; filename\*=UTF-8''[\w.%!'()*-]+$/);
      expect(headers.get("content-security-policy")).toMatch(/^sandbox; default-src 'none'/);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
    }
  },
);

it("what somebody logs is text on every page, whatever it is", async () => {
  const { url } = await startTracking();
  const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>'\`{{7*7}}\u2028</title>`;
  const { body } = await post(url, "experiments/create", { name: evil, tags: [{ key: "mlflow.note.content", value: evil }] });
  const experiment = body.experiment_id as string;
  const created = await post(url, "runs/create", { experiment_id: experiment, run_name: evil, user_id: evil, start_time: -5 });
  const run = created.body.run.info.run_id as string;
  await post(url, "runs/set-tag", { run_id: run, key: "mlflow.note.content", value: evil });
  await post(url, "runs/log-parameter", { run_id: run, key: "p", value: evil });
  await post(url, "runs/log-inputs", {
    run_id: run,
    datasets: [
      { tags: [{ key: "mlflow.data.context", value: evil }], dataset: { name: evil, digest: "<b>", source_type: evil, source: evil } },
    ],
  });
  for (const step of [1, 2]) await post(url, "runs/log-metric", { run_id: run, key: "loss", value: "NaN", timestamp: 8.64e15 + 1, step });
  await put(url, `${experiment}/${run}/artifacts/${encodeURIComponent("<img src=x onerror=alert(1)>.png")}`, "x");
  const model = "<script>alert(1)<script>".replaceAll("/", "");
  await post(url, "registered-models/create", { name: model, description: evil });
  await post(url, "model-versions/create", {
    name: model,
    source: "s3://x/<script>",
    run_link: evil,
    description: evil,
    tags: [{ key: "k", value: evil }],
  });
  for (const path of [
    "/",
    `/experiments/${experiment}`,
    `/experiments/${experiment}?filter=${encodeURIComponent(evil)}&order=${encodeURIComponent(evil)}&page=${encodeURIComponent(evil)}`,
    `/runs/${run}`,
    "/models",
    `/models/${encodeURIComponent(model)}`,
    `/compare?run=${run}&run=${run}`,
    `/runs/${encodeURIComponent(evil)}`,
    `/chart?run=${run}&metric=${encodeURIComponent(evil)}`,
    `/chart?run=${run}&metric=loss`,
  ]) {
    const response = await fetch(url + path);
    const page = await response.text();
    expect([path, response.status]).toEqual([path, expect.toSatisfy((code: number) => code < 500)]);
    expect([path, page.match(/<script(?!>\nconst go)|<img src=x|<b>|alert\(1\)>/g)]).toEqual([path, null]);
    expect([path, response.headers.get("content-security-policy")]).toEqual([path, expect.stringMatching(/default-src 'none'/)]);
  }
});
