import { writeFile } from "node:fs/promises";
import { constants, getPriority, setPriority } from "node:os";
import { extname } from "node:path";
import { decoderEnvironment } from "../config/env.ts";
import { ServalError } from "../errors/serval-error.ts";
import { startProcess } from "../threads/carrier.ts";
import { describeLoss, type Loss } from "../threads/loss.ts";
import { Thread } from "../threads/thread.ts";
import type { DecodeAnswerOf, DecodeProtocol, DecodeTask } from "./decode-call.ts";

/** What ends a process while it has a picture: the limit of time, that of memory, a fault in it, or that its answer is not waited for any more. */
export const decoderEnds = ["time", "memory", "crash", "abandoned"] as const;
export type DecoderEnd = (typeof decoderEnds)[number];

/** Loading the libraries takes a tenth of a second, and many times that on a busy machine. */
const startMs = 30_000;

/**
 * A process that decodes one picture at a time and can be ended at any moment. A thread cannot: decoders run in threads of
 * the library, and those end with their process only.
 */
export class DecoderProcess {
  readonly #thread: Thread<DecodeProtocol>;
  #end: DecoderEnd | "unused" | undefined;

  /** `niceness`: as in nice(1), how far others go first. */
  constructor(niceness = 0) {
    const carrier = startProcess({
      // Runs from the sources and from the emitted JavaScript alike.
      file: new URL(`./decode-worker${extname(import.meta.url)}`, import.meta.url),
      env: decoderEnvironment(),
      onStart: (pid) => yieldTo(pid, niceness),
    });
    this.#thread = new Thread<DecodeProtocol>(carrier, {
      lost: (loss) => this.#lost(loss),
      startMs,
      // While there is nothing to decode, the process keeps no other from ending: it ends with the one that started it.
      keepsProcess: "busy",
      onEvent: ({ limit, message }) => this.#fail(limit, message),
    });
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
    await this.#thread.ready;
    const deadline = setTimeout(() => this.#fail("time", `The image was not decoded within ${waitMs} ms.`), waitMs);
    try {
      return (await this.#thread.ask(task)) as DecodeAnswerOf<T>;
    } finally {
      clearTimeout(deadline);
    }
  }

  /** Ends the process; its picture, if it has one, is refused with E_DECODER. */
  stop(reason: "unused" | "abandoned"): void {
    this.#end ??= reason;
    this.#thread.end(new ServalError("E_DECODER", "The process that decodes costly images was stopped."));
  }

  #fail(reason: DecoderEnd, message: string): void {
    this.#end ??= reason;
    this.#thread.end(new ServalError("E_IMAGE_COST", message));
  }

  /** The process is gone, without our doing. */
  #lost(loss: Loss): ServalError {
    this.#end ??= "crash";
    const how = describeLoss(loss);
    return this.#thread.state === "starting"
      ? new ServalError("E_DECODER", `The process that decodes costly images ${how}.`)
      : new ServalError("E_IMAGE_COST", `The process that decoded the image ${how}.`);
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
