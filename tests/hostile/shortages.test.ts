import { execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it, onTestFinished } from "vitest";
import { sha256 } from "../../src/files.ts";
import { readApiKeys } from "../../src/serve/http/api-keys.ts";
import { sendRequest, type RawReply } from "../helpers/raw-request.ts";
import { form, predictForm, readReply, startTestService, type TestService } from "../helpers/service.ts";
import { colourPicture, writeTinyBundle } from "../helpers/tiny-bundle.ts";

const run = promisify(execFile);
const main = join(import.meta.dirname, "../../src/cli/main.ts");

async function temporaryFolder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "serval-shortage-"));
  onTestFinished(async () => await rm(dir, { recursive: true, force: true }));
  return dir;
}

const sendFeedback = async (port: number, id: string, headers: Record<string, string> = {}): Promise<RawReply> =>
  await sendRequest({
    port,
    method: "POST",
    path: "/feedback",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ request_id: id, label: "red" }),
  });

/** A file system of 300 kB; undefined where this user may not mount one. */
async function smallDisk(): Promise<string | undefined> {
  const dir = await temporaryFolder();
  const mounted = await run("mount", ["-t", "tmpfs", "-o", "size=300k", "tmpfs", dir]).catch(() => undefined);
  if (mounted === undefined) return undefined;
  onTestFinished(async () => void (await run("umount", [dir])));
  return dir;
}

it("a full disk stops no prediction; feedback about what is not stored answers 503 with the reason until there is room", async ({
  skip,
}) => {
  const disk = await smallDisk();
  if (disk === undefined) {
    skip("no right to mount");
    return;
  }
  const keys = join(await temporaryFolder(), "keys");
  await writeFile(keys, `alice ${sha256("a")}\nbob ${sha256("b")}\n`);
  const service: TestService = await startTestService({
    access: { keys: await readApiKeys(keys) },
    service: { predictionLogFile: join(disk, "predictions.db") },
  });
  onTestFinished(async () => await service.close());
  const picture = await colourPicture("red");
  const predict = async (): Promise<string> => {
    const init = { method: "POST", headers: { "x-api-key": "a" }, body: form(["file", picture]) };
    const { status, body } = await readReply(await fetch(`${service.url}/predict`, init));
    expect(status).toBe(200);
    return body.request_id as string;
  };
  const first = await predict();
  expect((await sendFeedback(service.port, first, { "x-api-key": "a" })).status).toBe(202);
  await writeFile(join(disk, "filler"), Buffer.alloc(400_000)).catch(() => undefined);
  // What fits into pages that SQLite has already is stored; then come those that are not.
  const ids: string[] = [];
  const refused = async (): Promise<RawReply | undefined> => {
    for (let i = 0; i < 20; i++) ids.push(await predict());
    const reply = await sendFeedback(service.port, ids.at(-1) ?? "", { "x-api-key": "a" });
    return reply.status === 503 ? reply : undefined;
  };
  await expect.poll(refused).toBeDefined();
  const id = ids.at(-1) ?? "";
  const { body } = await sendFeedback(service.port, id, { "x-api-key": "a" });
  expect(body.error).toMatchObject({ code: "E_PREDICTION_LOG", message: "The prediction could not be stored: database or disk is full." });
  // To another key it stays unknown, and so does what was never predicted.
  expect((await sendFeedback(service.port, id, { "x-api-key": "b" })).status).toBe(404);
  expect((await sendFeedback(service.port, "never", { "x-api-key": "a" })).status).toBe(404);
  await service.logged(({ msg }) => String(msg).includes(`Predictions cannot be stored in ${disk}`));
  // One line for the trouble, not one for each prediction.
  expect(service.lines.filter((line) => line.includes("cannot be stored")).length).toBe(1);
  await rm(join(disk, "filler"));
  await expect.poll(async () => (await sendFeedback(service.port, id, { "x-api-key": "a" })).status).toBe(202);
  for (const each of ids) expect([200, 202]).toContain((await sendFeedback(service.port, each, { "x-api-key": "a" })).status);
  await service.logged(({ msg }) => String(msg).endsWith("are stored in " + join(disk, "predictions.db") + " again."));
});

it("a folder that cannot be written is tried again: predictions that waited are stored when it can", async () => {
  const root = await temporaryFolder();
  await writeFile(join(root, "state"), "a file where the folder should be");
  const service = await startTestService({ service: { predictionLogFile: join(root, "state", "predictions.db") } });
  onTestFinished(async () => await service.close());
  const { body } = await predictForm(service, await colourPicture("red"));
  expect((await sendFeedback(service.port, body.request_id)).status).toBe(503);
  await rm(join(root, "state"));
  await expect.poll(async () => (await sendFeedback(service.port, body.request_id)).status).toBe(202);
});

it("a service that stops while its disk is full says how many predictions it could not store", async () => {
  const root = await temporaryFolder();
  await writeFile(join(root, "state"), "a file where the folder should be");
  const service = await startTestService({ service: { predictionLogFile: join(root, "state", "predictions.db") } });
  for (let i = 0; i < 3; i++) await predictForm(service, await colourPicture("red"));
  await service.close();
  expect(await service.logged(({ msg }) => String(msg).includes("were lost"))).toMatchObject({ level: "error", code: "E_PREDICTION_LOG" });
  expect(service.lines.join("")).toContain("3 predictions were lost: they could not be stored in ");
});

it("connections that say nothing take no file descriptor that a prediction, a label or a log needs", async () => {
  const cwd = await temporaryFolder();
  await mkdir(join(cwd, "models"));
  await writeTinyBundle(join(cwd, "models", "colours"));
  const child = spawn("bash", ["-c", 'ulimit -n 160; exec "$@"', "serve", process.execPath, main, "serve", "--port", "0"], {
    cwd,
    env: { ...process.env, SERVAL_WORKERS: "1", SERVAL_DRAIN_MS: "0", SERVAL_LOG_FILE: join(cwd, "service.log") },
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  await expect.poll(() => /Serving .* at http:\/\/127\.0\.0\.1:(\d+)/.exec(output)?.[1]).toBeDefined();
  const port = Number(/Serving .* at http:\/\/127\.0\.0\.1:(\d+)/.exec(output)?.[1]);
  const idle: Socket[] = [];
  const open = async (count: number, says: string): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const socket = connect(port, "127.0.0.1").on("error", () => undefined);
      idle.push(socket);
      await new Promise<void>((resolve) => socket.once("connect", () => resolve()).once("close", () => resolve()));
      if (says !== "") socket.write(says);
    }
  };
  onTestFinished(() => idle.forEach((socket) => socket.destroy()));
  const picture = await colourPicture("red");
  // Each time over a new connection: one that was kept may be closed for one of the others while the request is on its way.
  const ask = async (): Promise<[number, number]> => {
    const headers = { "content-type": "image/png" };
    const { status, body } = await sendRequest({ port, method: "POST", path: "/predict", headers, body: picture });
    return [status, (await sendFeedback(port, body.request_id)).status];
  };
  for (const says of ["", "GET /health HTTP/1.1\r\nhost: localhost\r\nx: ", "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"]) {
    await open(300, says);
    expect([says, await ask()]).toEqual([says, [200, 202]]);
  }
  expect(output).toMatch(/connections are open, as many as the limit on file descriptors allows/);
  expect(output).not.toMatch(/EMFILE|cannot be/);
  for (const socket of idle) socket.destroy();
  expect(await ask()).toEqual([200, 202]);
});
