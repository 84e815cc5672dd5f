import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { ServalError } from "../../errors/serval-error.ts";
import { switchOffTelemetry } from "../../runtime/telemetry.ts";
import type { AnswerOf, NumberedTask, PredictSetup, PredictTask, WorkerAnswer, WorkerCall } from "./predict-call.ts";

/** A thread that has its libraries, or is loading them, and waits for a model. */
export interface PredictThread {
  readonly worker: Worker;
  /** The exit code, once it has ended, and what ended it. */
  readonly ended: Promise<{ readonly code: number; readonly cause: unknown }>;
}

/** Starts a thread without a model: its libraries take as long to load as a model does. */
export function startPredictThread(): PredictThread {
  switchOffTelemetry();
  // Runs from the sources and from the emitted JavaScript alike.
  const worker = new Worker(new URL(`./predict-worker${extname(import.meta.url)}`, import.meta.url), {
    name: "serval-predict",
    resourceLimits: { maxYoungGenerationSizeMb: youngMb },
  });
  const ended = Promise.withResolvers<{ code: number; cause: unknown }>();
  let cause: unknown;
  worker.on("error", (error) => void (cause = error));
  worker.once("exit", (code) => ended.resolve({ code, cause }));
  return { worker, ended: ended.promise };
}

export interface PoolOptions {
  /** Threads that decode and run the model. */
  readonly workers: number;
  /** Images that go through the model together at most; 1 runs each by itself. */
  readonly maxBatchSize: number;
  /** How long an image waits for others to fill its batch. */
  readonly maxDelayMs: number;
  /** A thread that has work and gives no answer for this long is replaced. */
  readonly hangMs: number;
  /** Work without any answer for this long is not going to be answered. */
  readonly stuckMs: number;
  /** The first thread, where one was started ahead; the pool takes it over. */
  readonly thread?: PredictThread | undefined;
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
  /** Settles when the first thread can answer, or has refused the model: E_ENGINE_MODEL, or E_INFERENCE_STOPPED. */
  readonly ready: Promise<void>;
  /** False while no thread can answer. */
  readonly alive: boolean;
  /** Whether something waits or runs, and nothing has been answered for long. */
  readonly stuck: boolean;
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
  thread: PredictThread | undefined;
  ready: boolean;
  readonly running: Map<number, Pending>;
  /** Starts in a row that ended before anything was answered. */
  failures: number;
  hang: NodeJS.Timeout | undefined;
  restart: NodeJS.Timeout | undefined;
}

/**
 * Starts the threads: the first at once, the others when it is ready. A thread that dies or hangs costs the tasks that it
 * had, and is replaced: at once where it had answered something, else after a pause that doubles, because a model that
 * kills its thread would kill every one. What is asked before the first is ready waits.
 */
export function startPredictPool(model: Uint8Array, setup: PredictSetup, options: PoolOptions): PredictPool {
  const { workers, maxBatchSize, maxDelayMs, hangMs, stuckMs, thread, othersAfter, onLost } = options;
  const queue: Pending[] = [];
  let nextId = 0;
  let closing: Promise<void> | undefined;
  /** Some thread took the model: one that is lost is worth another. */
  let usable = false;
  let delayed: NodeJS.Timeout | undefined;
  /** When the last answer came, or the first task after a time without any. */
  let movedAt = performance.now();
  // Only the first has a session over all cores: it gets what comes while nothing else is asked.
  const lanes: Lane[] = Array.from({ length: workers }, (_, i) => ({
    setup: i === 0 ? setup : { ...setup, aloneThreads: 1 },
    thread: undefined,
    ready: false,
    running: new Map<number, Pending>(),
    failures: 0,
    hang: undefined,
    restart: undefined,
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
    const lost = lane.thread;
    if (lost === undefined) return;
    lane.thread = undefined;
    lane.ready = false;
    clearTimeout(lane.hang);
    lost.worker.removeAllListeners("message");
    // Not awaited: a thread that hangs inside the engine ends only when the engine lets go of it.
    void lost.worker.terminate();
    for (const { reject } of lane.running.values()) reject(reason);
    lane.running.clear();
    if (closing === undefined && usable) {
      onLost?.(reason);
      const pauseMs = lane.failures === 0 ? 0 : Math.min(lastRestartMs, firstRestartMs * 2 ** lane.failures);
      lane.failures++;
      const again = (): void => void start(lane).catch(() => undefined); // lost again, and started again later
      if (pauseMs === 0) again();
      else lane.restart = setTimeout(again, pauseMs).unref();
    }
    // With no thread in sight, what waits is told now instead of at its deadline.
    if (lanes.every((each) => each.thread === undefined)) for (const { reject } of queue.splice(0)) reject(reason);
    settle();
  };

  const start = async (lane: Lane, thread: PredictThread = startPredictThread()): Promise<void> => {
    lane.thread = thread;
    await new Promise<void>((ready, refuse) => {
      const seeEnd = async (): Promise<void> => {
        const { code, cause } = await thread.ended;
        const why = cause instanceof Error ? ` (${cause.message})` : "";
        const reason = new ServalError("E_INFERENCE_STOPPED", `The thread that runs the model ended with code ${code}${why}.`, { cause });
        refuse(reason);
        if (lane.thread === thread) lose(lane, reason);
      };
      void seeEnd();
      thread.worker.postMessage({ kind: "model", model, setup: lane.setup } satisfies WorkerCall);
      thread.worker.on("message", (message: WorkerAnswer) => {
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
        movedAt = performance.now();
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
      // Tensors are a batch already, and a new model is not to wait for its own check images.
      const waitMs = next.kind === "predict" ? since + maxDelayMs - performance.now() : 0;
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
      lane.thread?.worker.postMessage({ kind: "tasks", tasks, alone } satisfies WorkerCall, transfer);
    }
  };

  const first = lanes[0] as Lane;
  const ready = start(first, thread).then(
    () => void (usable = true),
    (error: unknown) => {
      closing = Promise.resolve();
      throw error;
    },
  );
  const startOthers = async (): Promise<void> => {
    await ready;
    await othersAfter;
    if (closing !== undefined) return;
    for (const lane of lanes.slice(1)) void start(lane).catch(() => undefined); // lost, and started again later
  };
  startOthers().catch(() => undefined); // told by `ready`

  return {
    workers,
    ready,
    get alive() {
      return closing === undefined && lanes.some(({ ready }) => ready);
    },
    get stuck() {
      return depth() > 0 && performance.now() - movedAt > stuckMs;
    },
    get depth() {
      return depth();
    },
    async run<T extends PredictTask>(task: T, { signal, timeoutMs, disposable }: RunOptions = {}) {
      if (closing !== undefined || lanes.every((lane) => lane.thread === undefined)) {
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
      if (depth() === 0) movedAt = performance.now();
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
            lane.thread?.worker.postMessage({ kind: "close" } satisfies WorkerCall);
            await lane.thread?.ended;
          }),
        );
      })();
      return closing;
    },
  };
}

/** The memory of an image, where it holds nothing else: small buffers share theirs. */
function ownMemory(task: PredictTask): ArrayBuffer | undefined {
  if (task.kind === "infer") return undefined;
  const { buffer, byteLength } = "encoded" in task.picture ? task.picture.encoded : task.picture.decoded.pixels;
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? buffer : undefined;
}
