import { fork, type ChildProcess } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { constants, getPriority, setPriority } from "node:os";
import { extname } from "node:path";
import { decoderEnvironment } from "../config/env.ts";
import { ServalError } from "../errors/serval-error.ts";
import type { DecodeAnswerOf, DecodeReply, DecodeTask } from "./decode-call.ts";

/** What ends a process while it has a picture: the limit of time, that of memory, a fault of its own, or that nobody waits any more. */
export const decoderEnds = ["time", "memory", "crash", "abandoned"] as const;
export type DecoderEnd = (typeof decoderEnds)[number];

/** Loading the libraries takes a tenth of a second, and many times that on a busy machine. */
const startMs = 30_000;

/**
 * A process that decodes one picture at a time and can be ended at any moment. A thread cannot: decoders run in threads of
 * the library, and those end with their process only.
 */
export class DecoderProcess {
  readonly #child: ChildProcess;
  readonly #ready = Promise.withResolvers<void>();
  #pending: PromiseWithResolvers<never> | undefined;
  #end: DecoderEnd | "unused" | undefined;

  /** `niceness`: as in nice(1), how far others go first. */
  constructor(niceness = 0) {
    // Runs from the sources and from the emitted JavaScript alike.
    this.#child = fork(new URL(`./decode-worker${extname(import.meta.url)}`, import.meta.url), {
      env: decoderEnvironment(),
      execArgv: [],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    this.#ready.promise.catch(() => undefined); // told by `decode`
    this.#child.on("error", (error) => this.#lose(`: ${error.message}`));
    this.#child.once("exit", (code, signal) => this.#lose(` with ${signal ?? `code ${code}`}`));
    this.#child.on("message", (reply: DecodeReply) => this.#take(reply));
    this.#rest();
    yieldTo(this.#child.pid, niceness);
  }

  /** What ended the process, if it is not running any more. */
  get end(): DecoderEnd | "unused" | undefined {
    return this.#end;
  }

  /**
   * Waits at most `waitMs`, for a process that cannot watch itself any more. Throws E_IMAGE_* or E_DECODER; `end` says whether the
   * process has ended with it.
   */
  async decode<T extends DecodeTask>(task: T, waitMs: number): Promise<DecodeAnswerOf<T>> {
    this.#child.ref();
    this.#child.channel?.ref();
    const start = setTimeout(() => this.#lose(`: it was not ready after ${startMs} ms`), startMs);
    let deadline: NodeJS.Timeout | undefined;
    try {
      await this.#ready.promise;
      clearTimeout(start);
      this.#pending = Promise.withResolvers<never>();
      deadline = setTimeout(() => this.#fail("time", `The image was not decoded within ${waitMs} ms.`), waitMs);
      this.#child.send(task, (error) => error && this.#lose(`: ${error.message}`));
      return await this.#pending.promise;
    } finally {
      clearTimeout(start);
      clearTimeout(deadline);
      this.#pending = undefined;
      this.#rest();
    }
  }

  /** Ends the process; its picture, if it has one, is refused with E_DECODER. */
  stop(reason: "unused" | "abandoned"): void {
    this.#kill(reason);
    const stopped = new ServalError("E_DECODER", "The process that decodes costly images was stopped.");
    this.#pending?.reject(stopped);
    this.#ready.reject(stopped);
  }

  /** While there is nothing to decode, the process keeps nobody from ending: it ends with the one that started it. */
  #rest(): void {
    this.#child.unref();
    this.#child.channel?.unref();
  }

  #take(reply: DecodeReply): void {
    if (reply.kind === "ready") this.#ready.resolve();
    else if (reply.kind === "done") this.#pending?.resolve(reply.answer as never);
    else if (reply.kind === "failed") this.#pending?.reject(new ServalError(reply.code, reply.message));
    else this.#fail(reply.limit, reply.message);
  }

  #fail(reason: DecoderEnd, message: string): void {
    this.#kill(reason);
    this.#pending?.reject(new ServalError("E_IMAGE_COST", message));
  }

  /** The process is gone, without our doing. */
  #lose(how: string): void {
    if (this.#end !== undefined) return;
    this.#fail("crash", `The process that decoded the image ended${how}.`);
    this.#ready.reject(new ServalError("E_DECODER", `The process that decodes costly images ended${how}.`));
  }

  #kill(reason: DecoderEnd | "unused"): void {
    this.#end ??= reason;
    this.#child.kill("SIGKILL");
  }
}

/** Others get the processor first; and where memory runs out, the kernel ends this process and not the one that started it. */
function yieldTo(pid: number | undefined, niceness: number): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, Math.min(constants.priority.PRIORITY_LOW, getPriority() + niceness));
  } catch {
    // It ended already, which is told elsewhere.
  }
  // proc_pid_oom_score_adj(5), where there is such a file.
  writeFile(`/proc/${pid}/oom_score_adj`, "1000").catch(() => undefined);
}
