import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { startServal } from "../../../helpers/serval-process.ts";
import { ask, askRaw, createRun, get, startTracking, temporaryFolder } from "../../../helpers/tracking-server.ts";

const proxy = "/api/2.0/mlflow-artifacts/artifacts";

test("a path that leads out of the store is neither read, written, listed nor deleted", async () => {
  const dir = await temporaryFolder();
  await writeFile(join(dir, "secret"), "secret");
  const { url } = await startTracking({ dir: join(dir, "store") });
  const run = await createRun(url);
  const paths = [
    "../../secret",
    "..%2f..%2fsecret",
    "%2e%2e/%2e%2e/secret",
    "a/../../../secret",
    "%252e%252e%252f%252e%252e%252fsecret",
    "%25252e%25252e/secret",
    "..%5c..%5csecret",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    `%2f${join(dir, "secret")}`,
    "file:///etc/passwd",
    "C:%5csecret",
    "C:/secret",
    "a%00b",
    "a%23b",
    "..",
    ".git/hooks/post-checkout",
    "a/%2egit/config",
    "git~1/config",
    "...",
    "nul",
  ];
  for (const path of paths) {
    for (const [method, content] of [
      ["GET", ""],
      ["PUT", "overwritten"],
      ["DELETE", ""],
    ] as const) {
      const { status } = await askRaw(url, method, `${proxy}/${path}`, {}, content);
      expect([method, path, status]).toEqual([method, path, expect.toSatisfy((code: number) => code === 400 || code === 404)]);
    }
    const listed = await askRaw(url, "GET", `${proxy}?path=${path}`);
    expect([path, listed.status, listed.body.files]).toEqual([path, expect.any(Number), undefined]);
    for (const address of [`/api/2.0/mlflow/artifacts/list?run_id=${run}&path=${path}`, `/get-artifact?run_id=${run}&path=${path}`]) {
      const answer = await askRaw(url, "GET", address);
      expect([address, JSON.stringify(answer.body)]).toEqual([address, expect.not.stringContaining("root:")]);
      expect(answer.body).not.toBe("secret");
    }
  }
  expect(await readFile(join(dir, "secret"), "utf8")).toBe("secret");
  expect((await readdir(dir)).sort()).toEqual(["secret", "store"]);
  expect(await readdir(join(dir, "store/artifacts"))).toEqual([]);
});

test("a link inside the store that points out of it is not followed", async () => {
  const dir = await temporaryFolder();
  await mkdir(join(dir, "outside"));
  await writeFile(join(dir, "outside/secret"), "secret");
  const { url } = await startTracking({ dir: join(dir, "store") });
  await symlink(join(dir, "outside"), join(dir, "store/artifacts/link"));
  for (const [method, path] of [
    ["GET", "link/secret"],
    ["PUT", "link/new"],
    ["DELETE", "link/secret"],
    ["DELETE", "link"],
  ] as const) {
    expect([path, (await askRaw(url, method, `${proxy}/${path}`, {}, method === "PUT" ? "x" : "")).status]).toEqual([path, 400]);
  }
  expect(await readdir(join(dir, "outside"))).toEqual(["secret"]);
});

test("files of any type go up and come down byte for byte, as attachments, and a folder is not a file", async () => {
  const { url } = await startTracking();
  const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, i) => i % 251));
  for (const type of ["application/json", "text/html", "multipart/form-data", "image/png"]) {
    const put = await ask(`${url}${proxy}/0/a/sub/page.html`, { method: "PUT", headers: { "content-type": type }, body: bytes });
    expect([type, put.status]).toEqual([type, 200]);
  }
  const response = await fetch(`${url}${proxy}/0/a/sub/page.html`);
  expect(Buffer.from(await response.arrayBuffer())).toEqual(bytes);
  expect(response.headers.get("content-disposition")).toBe("attachment; filename=\"page.html\"; filename*=UTF-8''page.html");
  expect(response.headers.get("content-type")).toBe("application/octet-stream");
  expect((await ask(`${url}${proxy}/0/a/sub`)).status).toBe(400);
  const onto = await ask(`${url}${proxy}/0/a/sub`, { method: "PUT", body: "x" });
  const below = await ask(`${url}${proxy}/0/a/sub/page.html/x`, { method: "PUT", body: "x" });
  expect([onto, below].map(({ status, body }) => [status, body.error_code])).toEqual([
    [400, "INVALID_PARAMETER_VALUE"],
    [400, "INVALID_PARAMETER_VALUE"],
  ]);
});

test("an upload that is cut off leaves the file that was there, and nothing of itself", async () => {
  const { url, dir } = await startTracking();
  await ask(`${url}${proxy}/0/model.bin`, { method: "PUT", body: "whole" });
  const { hostname, port } = new URL(url);
  const upload = request({ hostname, port, method: "PUT", path: `${proxy}/0/model.bin`, headers: { "content-length": 1_000_000 } });
  upload.on("error", () => undefined);
  await new Promise<void>((resolve) => void upload.write(Buffer.alloc(300_000), () => resolve()));
  await expect.poll(async () => (await readdir(join(dir, "uploads"))).length).toBe(1);
  upload.destroy();
  await expect.poll(async () => readdir(join(dir, "uploads"))).toEqual([]);
  expect((await ask(`${url}${proxy}/0/model.bin`)).body).toBe("whole");
});

test("a disk without room answers 507, keeps the file that was there, and takes the next one that fits", async (context) => {
  const dir = await temporaryFolder();
  const run = promisify(execFile);
  const mounted = await run("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", dir]).catch(() => undefined);
  if (mounted === undefined) context.skip("only root may mount a small disk");
  onTestFinished(async () => void (await run("umount", ["--lazy", dir])));
  const { url } = await startTracking({ dir, artifactLimits: { minFreeBytes: 0 } });
  const put = async (size: number): Promise<{ status: number; body: { error_code?: string } }> =>
    await ask(`${url}${proxy}/0/model.bin`, { method: "PUT", body: Buffer.alloc(size, 7) });
  expect((await put(1000)).status).toBe(200);
  const refused = await put(4 << 20);
  expect([refused.status, refused.body.error_code]).toEqual([507, "RESOURCE_EXHAUSTED"]);
  expect(await readdir(join(dir, "uploads"))).toEqual([]);
  expect((await ask(`${url}${proxy}/0/model.bin`)).body).toHaveLength(1000);
  expect((await put(100_000)).status).toBe(200);
  expect((await ask(`${url}${proxy}/0/model.bin`)).body).toHaveLength(100_000);
});

test.skipIf(process.platform !== "linux")("a large file is taken and given in constant memory", async () => {
  const dir = await temporaryFolder();
  const server = startServal(dir, ["track", "--port", "0"]);
  const url = (await server.waitFor(/Tracking at (http:\/\/\S+),/))[1] as string;
  const peakMiB = (): number => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${server.child.pid}/status`, "utf8"))?.[1]) / 1024;
  const before = peakMiB();
  const chunk = Buffer.alloc(1 << 20, 7);
  const size = 256;
  const content = Readable.from(
    (function* chunks() {
      for (let i = 0; i < size; i++) yield chunk;
    })(),
  );
  // `duplex` is not in the types of fetch yet.
  const init = { method: "PUT", body: Readable.toWeb(content), duplex: "half" } as unknown as RequestInit;
  expect((await ask(`${url}${proxy}/0/large.bin`, init)).status).toBe(200);
  let got = 0;
  for await (const part of (await fetch(`${url}${proxy}/0/large.bin`)).body ?? []) got += (part as Uint8Array).length;
  const grown = peakMiB() - before;
  await server.stop();
  expect(got).toBe(size * chunk.length);
  expect(grown).toBeLessThan(96);
});

test("files that lie in a store of the user's own are not looked for on this disk", async () => {
  const { url } = await startTracking();
  const made = await ask(`${url}/api/2.0/mlflow/experiments/create`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name: "away", artifact_location: "s3://bucket/away" }),
  });
  const run = await ask(`${url}/api/2.0/mlflow/runs/create`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ experiment_id: made.body.experiment_id }),
  });
  const listed = await get(url, "artifacts/list", { run_id: run.body.run.info.run_id });
  expect(listed.body.message).toContain("The files lie in s3://bucket/away/");
  for (const location of ["/etc", "file:///etc", "s3://bucket/../x"]) {
    const refused = await ask(`${url}/api/2.0/mlflow/experiments/create`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name: location, artifact_location: location }),
    });
    expect([location, refused.status]).toEqual([location, 400]);
  }
});
