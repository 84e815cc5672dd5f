import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { createRegistryClient, type RegistryClient } from "../../../src/tracking/client/registry-client.ts";

const root = "mlflow-artifacts:/1/run/artifacts";
const fileTimeoutMs = 400;

/** A client of a server that answers as `listener` does. */
async function startServer(listener: (...call: Parameters<RequestListener>) => unknown): Promise<RegistryClient> {
  const server = createServer((...call) => void listener(...call));
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return createRegistryClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { fileTimeoutMs });
}

async function temporaryFolder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "serval-slow-"));
  onTestFinished(async () => await rm(dir, { recursive: true }));
  return dir;
}

test("a file that comes slowly is waited for as long as something comes, and a server that falls silent is not", async () => {
  const client = await startServer(async (request, response) => {
    response.write("a");
    for (let i = 0; i < 8; i++) {
      await delay(100);
      response.write("b".repeat(100));
    }
    if (request.url?.endsWith("whole") === true) response.end();
  });
  const dir = await temporaryFolder();
  await client.downloadArtifact(root, "whole", join(dir, "whole"), 10_000);
  expect(await readFile(join(dir, "whole"), "utf8")).toBe(`a${"b".repeat(800)}`);
  await expect(client.downloadArtifact(root, "cut", join(dir, "cut"), 10_000)).rejects.toMatchObject({ code: "E_TRACKING_UNREACHABLE" });
});

test("a large file may take longer on its way than a small one, which a server must not sit on", async () => {
  const client = await startServer((request, response) => {
    request.resume().once("end", () => void setTimeout(() => response.end("{}"), 1000));
  });
  await client.uploadArtifact(root, "large", new Blob([new Uint8Array(256_000)]));
  await expect(client.uploadArtifact(root, "small", new Blob(["a"]))).rejects.toMatchObject({ code: "E_TRACKING_UNREACHABLE" });
});
