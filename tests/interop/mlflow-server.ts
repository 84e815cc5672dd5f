import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { pythonProgram } from "./python.ts";

export interface MlflowServer {
  readonly uri: string;
  /** Folder of the artifacts on disk. */
  readonly artifacts: string;
  stop(): Promise<void>;
}

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}

/** Starts the real `mlflow server` with its stores in `dir`; resolves once it says that it is ready. */
export async function startMlflow(dir: string, port: number): Promise<MlflowServer> {
  const artifacts = join(dir, "artifacts");
  const args = ["server", "--host", "127.0.0.1", "--port", String(port), "--workers", "1", "--serve-artifacts"];
  const stores = ["--backend-store-uri", `sqlite:///${join(dir, "mlflow.db")}`, "--artifacts-destination", artifacts];
  // A group of its own: the server starts workers, which must end with it.
  const child = spawn(pythonProgram("mlflow"), [...args, ...stores], {
    cwd: dir,
    detached: true,
    env: { ...process.env, MLFLOW_SERVER_ENABLE_JOB_EXECUTION: "false" },
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
  return {
    uri: `http://127.0.0.1:${port}`,
    artifacts,
    async stop() {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      process.kill(-child.pid, "SIGTERM");
      await ended;
    },
  };
}
