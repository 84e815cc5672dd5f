import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../helpers/free-port.ts";
import { pythonProgram } from "./python.ts";

export interface MlflowServer {
  readonly url: string;
  stop(): Promise<void>;
}

/** A real `mlflow server` on SQLite that takes files, with everything that it keeps in `dir`; resolves once it is ready. */
export async function startMlflowServer(dir: string, port?: number): Promise<MlflowServer> {
  await mkdir(dir, { recursive: true });
  port ??= await freePort();
  const args = ["server", "--host", "127.0.0.1", "--port", String(port), "--workers", "1", "--serve-artifacts"];
  const stores = ["--backend-store-uri", `sqlite:///${join(dir, "mlflow.db")}`, "--artifacts-destination", join(dir, "artifacts")];
  const child = spawn(pythonProgram("mlflow"), [...args, ...stores], {
    cwd: dir,
    // A separate process group: the server starts workers, which must end with it.
    detached: true,
    env: { ...process.env, MLFLOW_SERVER_ENABLE_JOB_EXECUTION: "false", MLFLOW_DISABLE_TELEMETRY: "true" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  await new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`mlflow server ended with ${code}:\n${log}`)));
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        log += chunk;
        if (log.includes("Application startup complete")) resolve();
      });
    }
  });
  return { url: `http://127.0.0.1:${port}`, stop: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  process.kill(-child.pid, "SIGTERM");
  await ended;
}
