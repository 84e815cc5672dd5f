import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

const main = join(import.meta.dirname, "../../src/cli/main.ts");

export interface ProcessResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ServalProcess {
  readonly child: ChildProcess;
  /** Both streams so far, in the order of arrival. */
  readonly text: () => string;
  /** Resolves with the match once the output holds one; rejects when the process ends without. */
  waitFor(pattern: RegExp): Promise<RegExpExecArray>;
  /** Address of the service, once it listens. */
  address(): Promise<string>;
  /** Sends the signal and waits for the end. */
  stop(signal?: NodeJS.Signals): Promise<ProcessResult>;
  readonly ended: Promise<ProcessResult>;
}

/** Starts `serval ARGS` as a separate process, as a user would; `program` is the command, where it is not that of the sources. */
export function startServal(cwd: string, args: readonly string[], env: NodeJS.ProcessEnv = {}, program: string = main): ServalProcess {
  const child = spawn(process.execPath, [program, ...args], {
    cwd,
    env: { SERVAL_DRAIN_MS: "0", ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  // A test that fails before it stops its service must not leave it running.
  const abandon = (): void => void child.kill("SIGKILL");
  process.once("exit", abandon);
  child.once("exit", () => process.off("exit", abandon));
  const streams = { stdout: "", stderr: "" };
  let both = "";
  const listeners = new Set<() => void>();
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (chunk: string) => {
      streams[name] += chunk;
      both += chunk;
      for (const listener of listeners) listener();
    });
  }
  const waitFor = async (pattern: RegExp): Promise<RegExpExecArray> =>
    await new Promise((resolve, reject) => {
      const look = (): void => {
        const match = pattern.exec(both);
        if (!match) return;
        listeners.delete(look);
        resolve(match);
      };
      listeners.add(look);
      look();
      void ended.then(({ code }) =>
        reject(new Error(`serval ${args.join(" ")} ended with ${code} before it printed ${pattern}:\n${both}`)),
      );
    });
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, ...streams }));
  return {
    child,
    text: () => both,
    ended,
    waitFor,
    address: async () => (await waitFor(/^Serving .* at (http:\/\/\S+)$/m))[1] ?? "",
    async stop(signal = "SIGTERM") {
      child.kill(signal);
      return await ended;
    },
  };
}

/** Runs `serval ARGS` to its end. */
export async function runServal(cwd: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<ProcessResult> {
  return await startServal(cwd, args, env).ended;
}
