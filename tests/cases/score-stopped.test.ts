import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { parquetReadObjects } from "hyparquet";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { runCli } from "../../src/cli/main.ts";
import { startObjectStore } from "../helpers/object-store.ts";
import { recordedContext } from "../helpers/recorded-output.ts";
import { runServal, startServal } from "../helpers/serval-process.ts";
import { colourPicture, writeTinyBundle } from "../helpers/tiny-bundle.ts";

const run = promisify(execFile);

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), "serval-score-stopped-"));
  const made = cwd;
  onTestFinished(async () => await rm(made, { recursive: true }));
  await writeTinyBundle(join(cwd, "models/colours"));
});

async function paths(file: string): Promise<unknown[]> {
  const bytes = await readFile(join(cwd, file));
  if (file.endsWith(".jsonl"))
    return bytes
      .toString()
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { path: string }).path);
  const rows = await parquetReadObjects({ file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) });
  return rows.map(({ path }) => path);
}

/** How far the job beside `file` is saved. */
async function savedPosition(file: string): Promise<number> {
  const text = await readFile(join(cwd, `${file}.job.json`), "utf8").catch(() => '{"position":0}');
  return (JSON.parse(text) as { position: number }).position;
}

test("a job that is killed at random moments, and stopped, and started again each time writes each row once, in order", async () => {
  const [red, blue] = [await colourPicture("red"), await colourPicture("blue")];
  let requests = 0;
  const server = createServer(({ url = "" }, response) => {
    requests++;
    // Slow enough for a kill in the middle.
    setTimeout(() => response.end(/[02468]$/.test(url) ? red : blue), 200);
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const addresses = Array.from({ length: 600 }, (_, i) => `http://127.0.0.1:${port}/${i}`);
  await writeFile(join(cwd, "list.csv"), `url\n${addresses.join("\n")}\n`);
  const args = ["score", "list.csv", "--out", "scores.parquet", "--allow-private"];

  for (const signal of ["SIGKILL", "SIGKILL", "SIGTERM"] as const) {
    const before = await savedPosition("scores.parquet");
    const serval = startServal(cwd, args);
    await vi.waitUntil(async () => (await savedPosition("scores.parquet")) > before, { interval: 20, timeout: 40_000 });
    const second = recordedContext(cwd);
    expect([await runCli(args, second), second.stderr.text]).toEqual([2, expect.stringContaining("E_SCORE_RUNS: Another process writes ")]);
    await wait(Math.random() * 300);
    const { stderr } = await serval.stop(signal);
    expect(stderr.includes("E_INTERRUPTED: ")).toBe(signal === "SIGTERM");
    expect(await readdir(cwd)).not.toContain("scores.parquet");
  }
  const saved = await savedPosition("scores.parquet");
  expect(saved).toBeGreaterThan(0);
  requests = 0;
  const { code, stdout } = await runServal(cwd, [...args, "--json"]);
  expect([code, requests]).toEqual([0, addresses.length - saved]);
  expect(JSON.parse(stdout)).toMatchObject({ rows: 600, answered: 600, rowsBefore: saved, labels: [{ count: 300 }, { count: 300 }] });
  expect(await paths("scores.parquet")).toEqual(addresses);
  expect((await readdir(cwd)).filter((name) => name.startsWith("scores"))).toEqual(["scores.parquet", "scores.parquet.job.json"]);
}, 180_000);

test("a full disk ends the job with an error, and it continues when there is room", async (context) => {
  const disk = join(cwd, "disk");
  await mkdir(disk);
  const mounted = await run("mount", ["-t", "tmpfs", "-o", "size=48k", "tmpfs", disk]).catch(() => undefined);
  if (mounted === undefined) context.skip("only root may mount a file system");
  onTestFinished(async () => void (await run("umount", [disk])));
  await writeFile(join(cwd, "a.jpg"), await colourPicture("red"));
  await writeFile(join(cwd, "list.txt"), "a.jpg\n".repeat(400));
  const score = async (): Promise<[number, string]> => {
    const output = recordedContext(cwd);
    return [await runCli(["score", "list.txt", "--out", "disk/scores.jsonl"], output), output.stderr.text];
  };
  expect(await score()).toEqual([1, expect.stringMatching(/^E_DISK_FULL: .*scores\.jsonl\.part could not be written: ENOSPC/m)]);
  await run("mount", ["-o", "remount,size=4m", disk]);
  expect(await score()).toEqual([0, ""]);
  expect(await paths("disk/scores.jsonl")).toHaveLength(400);
});

test("a job that was killed after its last row and before it named its file names it, and scores nothing", async () => {
  await mkdir(join(cwd, "photos"));
  await writeFile(join(cwd, "photos/a.jpg"), await colourPicture("red"));
  const score = async (file: string): Promise<number> => await runCli(["score", "photos", "--out", file], recordedContext(cwd));
  await score("scores.jsonl");
  await score("scores.csv");
  const whole = await readFile(join(cwd, "scores.jsonl"));
  const csv = await readFile(join(cwd, "scores.csv"), "utf8");
  // As it is before the rename, and in the middle of writing the CSV.
  for (const name of ["scores.jsonl", "scores.csv"]) {
    await rm(join(cwd, name));
    await writeFile(join(cwd, `${name}.part`), whole);
  }
  await rm(join(cwd, "photos/a.jpg"));
  expect([await score("scores.jsonl"), await score("scores.csv")]).toEqual([0, 0]);
  expect(await readFile(join(cwd, "scores.jsonl"))).toEqual(whole);
  expect(await readFile(join(cwd, "scores.csv"), "utf8")).toBe(csv);
});

test("a bucket is listed page by page; 503 is asked again, and a bucket that keeps saying it ends the job, which continues later", async () => {
  const store = await startObjectStore();
  onTestFinished(async () => await store.close());
  store.pageSize = 2;
  const red = await colourPicture("red");
  for (const name of ["a.jpg", "b.jpg", "c.jpg", "d/e.png", "gone.jpg", "notes.txt", "z.jpg"]) store.objects.set(`photos/${name}`, red);
  store.objects.set("photos-2/a.jpg", red);
  store.onRequest = (request) => {
    if (request === "GET photos/gone.jpg") store.objects.delete("photos/gone.jpg");
  };
  store.faults.push({ method: "GET", key: /^$/, kind: 503, times: 2 }, { method: "GET", key: /b\.jpg/, kind: 503, times: 1 });
  store.faults.push({ method: "GET", key: /d\/e/, kind: 403, times: 1 }, { method: "GET", key: /z\.jpg/, kind: 503, times: 5 });
  const env = { AWS_ENDPOINT_URL_S3: store.url, AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test" };
  const args = ["score", "s3://data/photos", "--out", "scores.jsonl"];
  const failed = await runServal(cwd, args, env);
  expect([failed.code, failed.stderr]).toEqual([
    1,
    expect.stringMatching(/E_REMOTE_UNREACHABLE: .*get "s3:\/\/data\/photos\/z\.jpg": failed 5 times, at last with: HTTP 503 /),
  ]);
  store.requests.length = 0;
  expect(await runServal(cwd, args, env)).toMatchObject({ code: 0, stdout: expect.stringContaining("Continuing after 5 rows.") as string });
  expect(store.requests.filter((request) => request !== "GET ")).toEqual(["GET photos/z.jpg"]);
  const rows = (await readFile(join(cwd, "scores.jsonl"), "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, string>);
  expect(rows.map(({ path, label, error }) => [path, label ?? error])).toEqual([
    ["s3://data/photos/a.jpg", "red"],
    ["s3://data/photos/b.jpg", "red"],
    ["s3://data/photos/c.jpg", "red"],
    ["s3://data/photos/d/e.png", "E_REMOTE_REFUSED"],
    ["s3://data/photos/gone.jpg", "E_FILE_NOT_FOUND"],
    ["s3://data/photos/z.jpg", "red"],
  ]);
});
