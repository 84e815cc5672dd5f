import { fork } from "node:child_process";
import { Worker, type ResourceLimits, type Transferable } from "node:worker_threads";

/** How a thread ended: `how` continues "it ended", such as " with code 1". */
export interface CarrierEnd {
  readonly how: string;
  readonly cause: unknown;
}

/** What runs the other side: a worker thread of Node, or a process. */
export interface Carrier {
  /** `transfer` moves to a thread instead of being copied; a process gets a copy. */
  post(message: unknown, transfer: readonly Transferable[]): void;
  listen(onMessage: (message: never) => void, onEnd: (end: CarrierEnd) => void): void;
  /** Ends it, whatever it does. A thread that hangs inside a library ends when the library lets go of it. */
  kill(): void;
  /** Whether it keeps this process from ending. */
  hold(keeps: boolean): void;
}

export interface WorkerOptions {
  /** The thread's program: a file `*-worker.ts` beside the code that starts it. */
  readonly file: URL;
  /** For tools that list threads. */
  readonly name: string;
  readonly data?: unknown;
  readonly resourceLimits?: ResourceLimits;
}

export function startWorker({ file, name, data, resourceLimits }: WorkerOptions): Carrier {
  const worker = new Worker(file, { name, workerData: data, ...(resourceLimits && { resourceLimits }) });
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    listen(onMessage, onEnd) {
      let cause: unknown;
      worker.on("message", onMessage as (message: unknown) => void);
      worker.on("error", (error) => void (cause = error));
      worker.once("exit", (code) => onEnd({ how: ` with code ${code}${cause instanceof Error ? ` (${cause.message})` : ""}`, cause }));
    },
    kill: () => void worker.terminate(),
    hold: (keeps) => (keeps ? worker.ref() : worker.unref()),
  };
}

export interface ProcessOptions {
  /** The program: a file `*-worker.ts` beside the code that starts it. */
  readonly file: URL;
  readonly env: NodeJS.ProcessEnv;
  /** Hears the number of the process; undefined where it could not be started. */
  readonly onStart?: (pid: number | undefined) => void;
}

/** Its standard output is closed; what it writes as errors is shown. */
export function startProcess({ file, env, onStart }: ProcessOptions): Carrier {
  const child = fork(file, { env, execArgv: [], serialization: "advanced", stdio: ["ignore", "ignore", "inherit", "ipc"] });
  onStart?.(child.pid);
  return {
    post: (message) => void child.send(message as object, (error) => error && child.emit("error", error)),
    listen(onMessage, onEnd) {
      child.on("error", (cause) => {
        child.kill("SIGKILL");
        onEnd({ how: `: ${cause.message}`, cause });
      });
      child.on("message", onMessage as (message: unknown) => void);
      child.once("exit", (code, signal) => onEnd({ how: ` with ${signal ?? `code ${code}`}`, cause: undefined }));
    },
    kill: () => void child.kill("SIGKILL"),
    hold(keeps) {
      if (keeps) child.ref();
      else child.unref();
      if (keeps) child.channel?.ref();
      else child.channel?.unref();
    },
  };
}
