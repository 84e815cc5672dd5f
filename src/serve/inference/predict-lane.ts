import { extname } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { switchOffTelemetry } from "../../runtime/telemetry.ts";
import { startWorker } from "../../threads/carrier.ts";
import { doublingPause, KeptThread, type KeptState } from "../../threads/kept-thread.ts";
import { describeLoss } from "../../threads/loss.ts";
import { Thread } from "../../threads/thread.ts";
import type { PredictProtocol, PredictSetup } from "./predict-call.ts";
import type { PendingTask } from "./predict-queue.ts";

/** A thread that has its libraries, or is loading them, and waits for a model. */
export type PredictThread = Thread<PredictProtocol>;

/** What a thread has in JavaScript are a few small objects; without a bound its heap grows to tens of megabytes before it is tidied. */
const youngMb = 4;

/** Starts a thread without a model: its libraries take as long to load as a model does. One that has work and is silent for `hangMs` is lost. */
export function startPredictThread(hangMs: number): PredictThread {
  switchOffTelemetry();
  const carrier = startWorker({
    // Runs from the sources and from the emitted JavaScript alike.
    file: new URL(`./predict-worker${extname(import.meta.url)}`, import.meta.url),
    name: "serval-predict",
    resourceLimits: { maxYoungGenerationSizeMb: youngMb },
  });
  return new Thread<PredictProtocol>(carrier, {
    silenceMs: hangMs,
    lost: (loss) =>
      loss.kind === "ended"
        ? new ServalError("E_INFERENCE_STOPPED", `The thread that runs the model ${describeLoss(loss)}.`, { cause: loss.cause })
        : new ServalError("E_INFERENCE_STOPPED", `The thread ${describeLoss(loss)} and was replaced.`),
  });
}

export interface LaneOptions {
  readonly model: Uint8Array;
  readonly setup: PredictSetup;
  /** A thread that has work and gives no answer for this long is replaced. */
  readonly hangMs: number;
  /** Tasks that it has in hand at most when it takes more. */
  readonly fullAt: number;
  /** Whether a thread that is lost is worth another. */
  readonly mayRestart: () => boolean;
  readonly onReady: () => void;
  /** Hears of each answer, also of an error. */
  readonly onAnswer: () => void;
  /** Hears of each thread that was lost, after its tasks were rejected and another was started, if it was at once. */
  readonly onLost: (reason: ServalError) => void;
}

const firstPauseMs = 200;
const lastPauseMs = 30_000;
const pauseAfter = doublingPause(firstPauseMs, lastPauseMs);

/**
 * One thread of the pool and those that come after it. One that dies or hangs costs the tasks that it had, and is replaced: at
 * once where it had answered something, else after a pause that doubles, because a model that kills its thread would kill every one.
 */
export class PredictLane {
  readonly #options: LaneOptions;
  readonly #kept: KeptThread<PredictProtocol>;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#kept = new KeptThread<PredictProtocol>({
      start: () => this.#withModel(startPredictThread(options.hangMs)),
      pauseMs: (unanswered) => (options.mayRestart() ? pauseAfter(unanswered) : undefined),
      onReady: options.onReady,
      onLost: options.onLost,
    });
  }

  get state(): KeptState {
    return this.#kept.state;
  }

  /** Tasks that it has in hand, also those whose answer is not wanted any more. */
  get depth(): number {
    return this.#kept.thread?.depth ?? 0;
  }

  /** Whether there is a thread that answers, or soon will. */
  get hasThread(): boolean {
    return this.#kept.thread !== undefined;
  }

  get hasRoom(): boolean {
    return this.#kept.state === "ready" && this.depth <= this.#options.fullAt;
  }

  /** Settles when the thread has opened the model, or refused it: E_ENGINE_MODEL, or E_INFERENCE_STOPPED. */
  async start(ahead?: PredictThread): Promise<void> {
    await this.#kept.start(ahead && this.#withModel(ahead));
  }

  /** `alone`: no other task waits or runs. */
  run(batch: readonly PendingTask[], alone: boolean): void {
    const { thread } = this.#kept;
    if (thread === undefined) return;
    const transfer = batch.flatMap((pending) => pending.transfer ?? []);
    const answers = thread.askEach(
      batch.map(({ task }) => ({ task, alone })),
      transfer,
    );
    for (const [i, pending] of batch.entries()) void this.#settle(thread, pending, answers[i] as Promise<PredictProtocol["answer"]>);
  }

  /** Lets the thread answer what it has, and end. */
  async close(): Promise<void> {
    await this.#kept.close();
  }

  async #settle(thread: PredictThread, { resolve, reject }: PendingTask, answer: Promise<PredictProtocol["answer"]>): Promise<void> {
    try {
      resolve(await answer);
    } catch (error) {
      reject(error);
      // What a lost thread had is not answered.
      if (thread.state === "ended") return;
    }
    this.#options.onAnswer();
  }

  #withModel(thread: PredictThread): PredictThread {
    const { model, setup } = this.#options;
    thread.tell({ model, setup });
    return thread;
  }
}
