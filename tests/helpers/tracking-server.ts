import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { request } from "node:http";
import { onTestFinished } from "vitest";
import { startTrackingServer, type TrackingServer, type TrackingServerOptions } from "../../src/tracking/server/tracking-server.ts";

export interface Answer {
  readonly status: number;
  // The answers of an API have many forms; tests say which they expect.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

/** A folder that is removed when the test ends. */
export async function temporaryFolder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "serval-tracking-"));
  onTestFinished(async () => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** A server on a free port, closed when the test ends. */
export async function startTracking(options: Partial<TrackingServerOptions> = {}): Promise<TrackingServer & { readonly dir: string }> {
  const dir = options.dir ?? (await temporaryFolder());
  const server = await startTrackingServer({ host: "127.0.0.1", port: 0, ...options, dir });
  onTestFinished(async () => server.close());
  return { ...server, dir };
}

/** `POST /api/2.0/mlflow/NAME`. */
export async function post(url: string, name: string, content: object): Promise<Answer> {
  return await ask(`${url}/api/2.0/mlflow/${name}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(content),
  });
}

export async function get(url: string, name: string, query: Record<string, string> = {}): Promise<Answer> {
  return await ask(`${url}/api/2.0/mlflow/${name}?${new URLSearchParams(query).toString()}`);
}

export async function ask(address: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(address, init);
  const text = await response.text();
  return { status: response.status, body: text.startsWith("{") ? JSON.parse(text) : text };
}

export async function createRun(url: string, name = "run"): Promise<string> {
  const { body } = await post(url, "runs/create", { experiment_id: "0", run_name: name, start_time: 1 });
  return body.run.info.run_id as string;
}

/** A request whose path and headers are sent as they are: `fetch` tidies `..` away and sets the host itself. */
export async function askRaw(
  url: string,
  method: string,
  path: string,
  headers: Record<string, string> = {},
  content = "",
): Promise<Answer> {
  const { hostname, port } = new URL(url);
  return await new Promise((resolve, reject) => {
    const outgoing = request(
      { hostname, port, method, path, headers: { ...headers, "content-length": Buffer.byteLength(content) } },
      (incoming) => {
        let text = "";
        incoming.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, body: text.startsWith("{") ? JSON.parse(text) : text }));
      },
    );
    outgoing.on("error", reject).end(content);
  });
}
