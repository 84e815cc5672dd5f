import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { ServalError } from "../errors.ts";
import type { AnswerOf, NumberedTask, PredictSetup, PredictTask, WorkerAnswer, WorkerCall } from "./predict-call.ts";

export interface PoolOptions {
  /** Threads that decode and run the model. */
  readonly workers: number;
  /** Images that go through the model together at most; 1 runs each by itself. */
  readonly maxBatchSize: number;
  /** How long an image waits for others to fill its batch. */
  readonly maxDelayMs: number;
  /** A thread that has work and gives no answer for this long is replaced. */
  readonly hangMs: number;
  /** When the threads after the first are started; without it as soon as the first is ready. */
  readonly othersAfter?: Promise<unknown> | undefined;
  /** Called when a thread was lost and is being replaced. */
  readonly onLost?: ((reason: ServalError) => void) | undefined;
}

export interface RunOptions {
  /** Aborted when nobody waits for the answer any more; its reason is what `run` rejects with. */
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
  /** The image moves to the thread instead of being copied: the caller must not use its bytes again. */
  readonly disposable?: boolean | undefined;
}

/** Threads with one model. What cannot start at once waits in order. */
export interface PredictPool {
  readonly workers: number;
  /** False while no thread can answer. */
  readonly alive: boolean;
  /** Tasks that wait or run, also those that nobody waits for any more but that still occupy a thread. */
  readonly depth: number;
  /** Throws E_IMAGE_*, E_EXPLAIN, E_ENGINE_RUN, E_PREDICTION_TIMEOUT, E_INFERENCE_STOPPED, or the signal's reason. */
  run<T extends PredictTask>(task: T, options?: RunOptions): Promise<AnswerOf<T>>;
  /** Takes nothing more, answers what was taken, and ends the threads. */
  close(): Promise<void>;
}

/** Calls that a thread has in hand: while one is in the model, the next is decoded. */
const callsPerWorker = 2;
/** What a thread has in JavaScript are a few small objects; without a bound its heap grows to tens of megabytes before it is tidied. */
const youngMb = 4;
const firstRestartMs = 100;
const lastRestartMs = 30_000;

interface Pending extends NumberedTask {
  readonly resolve: (answer: never) => void;
  readonly reject: (reason: unknown) => void;
  readonly since: number;
  readonly transfer: ArrayBuffer | undefined;
}

interface Lane {
  readonly setup: PredictSetup;
  worker: Worker | undefined;
  ready: boolean;
  readonly running: Map<number, Pending>;
  /** Starts in a row that ended before anything was answered. */
  failures: number;
  hang: NodeJS.Timeout | undefined;
  restart: NodeJS.Timeout | undefined;
  ended: Promise<void>;
}

/**
 * Starts the threads and resolves when the first is ready; the others follow. A thread that dies or hangs costs the tasks
 * that it had, and is replaced: at once where it had answered something, else after a pause that doubles, because a
 * model that kills its thread would kill every one. Throws E_ENGINE_MODEL.
 */
export async function startPredictPool(setup: PredictSetup, options: PoolOptions): Promise<PredictPool> {
  const { workers, maxBatchSize, maxDelayMs, hangMs, othersAfter, onLost } = options;
  const queue: Pending[] = [];
  let nextId = 0;
  let closing: Promise<void> | undefined;
  let delayed: NodeJS.Timeout | undefined;
  // Only the first has a session over all cores: it gets what comes while nothing else is asked.
  const lanes: Lane[] = Array.from({ length: workers }, (_, i) => ({
    setup: i === 0 ? setup : { ...setup, aloneThreads: 1 },
    worker: undefined,
    ready: false,
    running: new Map<number, Pending>(),
    failures: 0,
    hang: undefined,
    restart: undefined,
    ended: Promise.resolve(),
  }));
  const depth = (): number => lanes.reduce((sum, { running }) => sum + running.size, queue.length);
  const idle = Promise.withResolvers<void>();
  const settle = (): void => {
    if (closing !== undefined && depth() === 0) idle.resolve();
  };

  const watch = (lane: Lane): void => {
    clearTimeout(lane.hang);
    if (lane.running.size === 0) return;
    lane.hang = setTimeout(() => {
      lose(lane, new ServalError("E_INFERENCE_STOPPED", `The thread gave no answer within ${hangMs} ms and was replaced.`));
    }, hangMs);
  };

  /** Gives a thread up, with what it had in hand, and starts another in its place. */
  const lose = (lane: Lane, reason: ServalError): void => {
    const lost = lane.worker;
    if (lost === undefined) return;
    lane.worker = undefined;
    lane.ready = false;
    clearTimeout(lane.hang);
    lost.removeAllListeners();
    // Not awaited: a thread that hangs inside the engine ends only when the engine lets go of it.
    void lost.terminate();
    for (const { reject } of lane.running.values()) reject(reason);
    lane.running.clear();
    if (closing === undefined) {
      onLost?.(reason);
      const pauseMs = lane.failures === 0 ? 0 : Math.min(lastRestartMs, firstRestartMs * 2 ** lane.failures);
      lane.failures++;
      const again = (): void => void start(lane).catch(() => undefined); // lost again, and started again later
      if (pauseMs === 0) again();
      else lane.restart = setTimeout(again, pauseMs).unref();
    }
    // With no thread in sight, what waits is told now instead of at its deadline.
    if (lanes.every(({ worker }) => worker === undefined)) for (const { reject } of queue.splice(0)) reject(reason);
    settle();
  };

  const start = async (lane: Lane): Promise<void> => {
    // Runs from the sources and from the emitted JavaScript alike.
    const worker = new Worker(new URL(`./predict-worker${extname(import.meta.url)}`, import.meta.url), {
      workerData: lane.setup,
      name: "serval-predict",
      resourceLimits: { maxYoungGenerationSizeMb: youngMb },
    });
    lane.worker = worker;
    const ended = Promise.withResolvers<void>();
    lane.ended = ended.promise;
    let cause: unknown;
    await new Promise<void>((ready, refuse) => {
      worker.on("error", (error) => void (cause = error));
      worker.once("exit", (code) => {
        ended.resolve();
        const why = cause instanceof Error ? ` (${cause.message})` : "";
        const reason = new ServalError("E_INFERENCE_STOPPED", `The thread that runs the model ended with code ${code}${why}.`, { cause });
        refuse(reason);
        lose(lane, reason);
      });
      worker.on("message", (message: WorkerAnswer) => {
        if (message.kind === "ready") {
          lane.ready = true;
          ready();
          dispatch();
          return;
        }
        if (message.kind === "refused") {
          const reason = new ServalError(message.code, message.message);
          refuse(reason);
          lose(lane, reason);
          return;
        }
        lane.failures = 0;
        const pending = lane.running.get(message.id);
        lane.running.delete(message.id);
        watch(lane);
        if (message.kind === "done") pending?.resolve(message.answer as never);
        else pending?.reject(new ServalError(message.code, message.message));
        dispatch();
        settle();
      });
    });
  };

  const dispatch = (): void => {
    while (queue.length > 0) {
      const alone = depth() === 1;
      const free = lanes.filter(({ ready, running }) => ready && running.size <= (callsPerWorker - 1) * maxBatchSize);
      const lane = free.sort((a, b) => a.running.size - b.running.size)[0];
      if (lane === undefined) return;
      const { since, task: next } = queue[0] as Pending;
      // Tensors are a batch already.
      const waitMs = next.kind === "infer" ? 0 : since + maxDelayMs - performance.now();
      if (queue.length < maxBatchSize && waitMs > 0 && closing === undefined) {
        delayed ??= setTimeout(() => {
          delayed = undefined;
          dispatch();
        }, waitMs);
        return;
      }
      const taken = queue.splice(0, maxBatchSize);
      for (const pending of taken) lane.running.set(pending.id, pending);
      if (lane.running.size === taken.length) watch(lane);
      const tasks = taken.map(({ id, task }) => ({ id, task }));
      const transfer = taken.flatMap((pending) => pending.transfer ?? []);
      lane.worker?.postMessage({ kind: "tasks", tasks, alone } satisfies WorkerCall, transfer);
    }
  };

  const first = lanes[0] as Lane;
  await start(first).catch(async (error: unknown) => {
    // Nothing was answered yet, so nothing is restarted.
    closing = Promise.resolve();
    clearTimeout(first.restart);
    await first.ended;
    throw error;
  });
  const startOthers = async (): Promise<void> => {
    await othersAfter;
    if (closing !== undefined) return;
    for (const lane of lanes.slice(1)) void start(lane).catch(() => undefined); // lost, and started again later
  };
  void startOthers();

  return {
    workers,
    get alive() {
      return closing === undefined && lanes.some(({ ready }) => ready);
    },
    get depth() {
      return depth();
    },
    async run<T extends PredictTask>(task: T, { signal, timeoutMs, disposable }: RunOptions = {}) {
      if (closing !== undefined || lanes.every(({ worker }) => worker === undefined)) {
        throw new ServalError(
          "E_INFERENCE_STOPPED",
          `No thread runs the model: ${closing ? "it is closed" : "it is being started again"}.`,
        );
      }
      signal?.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<AnswerOf<T>>();
      const pending: Pending = {
        id: ++nextId,
        task,
        resolve,
        reject,
        since: performance.now(),
        transfer: disposable ? ownMemory(task) : undefined,
      };
      // What waits leaves the queue; what runs already keeps its place until the thread is through with it.
      const giveUp = (reason: unknown): void => {
        const place = queue.indexOf(pending);
        if (place >= 0) queue.splice(place, 1);
        reject(reason);
        settle();
      };
      const timer =
        timeoutMs === undefined
          ? undefined
          : setTimeout(() => giveUp(new ServalError("E_PREDICTION_TIMEOUT", `No answer within ${timeoutMs} ms.`)), timeoutMs);
      const onAbort = (): void => giveUp(signal?.reason);
      signal?.addEventListener("abort", onAbort);
      queue.push(pending);
      dispatch();
      try {
        return await promise;
      } finally {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      }
    },
    close() {
      closing ??= (async () => {
        await Promise.resolve();
        dispatch();
        settle();
        await idle.promise;
        await Promise.all(
          lanes.map(async (lane) => {
            clearTimeout(lane.restart);
            clearTimeout(lane.hang);
            lane.worker?.postMessage({ kind: "close" } satisfies WorkerCall);
            await lane.ended;
          }),
        );
      })();
      return closing;
    },
  };
}

/** The memory of an encoded image, where it holds nothing else: small buffers share theirs. */
function ownMemory(task: PredictTask): ArrayBuffer | undefined {
  if (task.kind === "infer") return undefined;
  const { buffer, byteLength } = task.image;
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? buffer : undefined;
}
