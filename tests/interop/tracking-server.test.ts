import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTrackingServer } from "../../src/tracking/server/tracking-server.ts";
import { startMlflowServer } from "./mlflow-server.ts";
import { python } from "./python.ts";

/** What MLflow's own client saw of a server, by the names of its steps. */
type Seen = Record<string, unknown>;

let dir: string;
let real: Seen;
let ours: Seen;

async function readSeen(name: string): Promise<Seen> {
  return JSON.parse(await readFile(join(dir, name, "seen.json"), "utf8")) as Seen;
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-contract-"));
  const mlflow = await startMlflowServer(join(dir, "mlflow"));
  const serval = await startTrackingServer({ dir: join(dir, "serval"), host: "127.0.0.1", port: 0 });
  try {
    const servers = { real: mlflow.url, ours: serval.url };
    for (const name of Object.keys(servers)) await mkdir(join(dir, name));
    const args = Object.entries(servers).flatMap(([name, url]) => [url, join(dir, name)]);
    await promisify(execFile)(python, ["-W", "ignore", join(import.meta.dirname, "tracking_peer.py"), ...args], { maxBuffer: 64 << 20 });
    real = await readSeen("real");
    ours = await readSeen("ours");
  } finally {
    await Promise.all([mlflow.stop(), serval.close()]);
  }
}, 400_000);
afterAll(async () => rm(dir, { recursive: true, force: true }));

describe("MLflow's Python client", () => {
  test("sees the same of our server as of a real `mlflow server`, in every step of one script", () => {
    expect(Object.keys(ours).length).toBeGreaterThan(250);
    expect(ours).toEqual(real);
  });

  test("gets from ours what the steps are about, not the same error twice", () => {
    expect(ours).toMatchObject({
      history: [
        ["loss", 0.75, 500, 1],
        ["loss", 0.5, 1000, 0],
        ["loss", 0.25, 2000, 1],
      ],
      "history of NaN": [["loss", "nan", 1000, 3]],
      "no such run": { error: "RESOURCE_DOES_NOT_EXIST", status: 404 },
      "param changed": { error: "INVALID_PARAMETER_VALUE", status: 400 },
      "name taken": { error: "RESOURCE_ALREADY_EXISTS", status: 400 },
      "runs where metrics.loss < 0.5 AND params.depth = '3'": ["alpha"],
      "pages of runs": [["tagged", "alpha"], ["beta", "gamma"], true, false],
      "restored run": "active",
      "downloaded bytes": "replaced",
      nested: ["<run-4>", "FINISHED", { a: "1", b: "two" }],
      "model loaded by its id": [
        [2, 4],
        [6, 8],
      ],
      "model loaded by alias": "double",
    });
    const failed = Object.entries(ours).filter(([, answer]) => (answer as { error?: string } | null)?.error === "INTERNAL_ERROR");
    // MLflow's code for it.
    expect(failed.map(([name]) => name)).toEqual(["renaming a deleted experiment"]);
  });
});
