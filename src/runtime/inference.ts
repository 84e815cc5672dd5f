import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { ServalError, type ErrorCode } from "../errors/serval-error.ts";
import { switchOffTelemetry } from "./telemetry.ts";

export interface InferenceResult {
  /** [count,K] */
  readonly logits: Float32Array;
  /** [count,K] */
  readonly probabilities: Float32Array;
  /** [count,C,h,w], only when asked for. */
  readonly features?: Float32Array;
  /** Time inside the model, without the wait for it. */
  readonly durationMs: number;
}

/** One model in a thread of its own. Calls are answered in the order in which they were made. */
export interface Inference {
  /** False once the thread has stopped and will not be restarted: every further call is refused. */
  readonly alive: boolean;
  /**
   * Runs the model on images uint8 [count,H,W,3]. The bytes are copied before this returns. Throws E_ENGINE_RUN, or
   * E_INFERENCE_STOPPED where the thread stopped before it could answer.
   */
  run(images: Uint8Array, count: number, options?: { features?: boolean }): Promise<InferenceResult>;
  /** Answers what was asked already, then ends the thread. */
  close(): Promise<void>;
}

export interface InferenceOptions {
  readonly imageShape: readonly [height: number, width: number];
  /** Threads inside one operator; default: all cores. */
  readonly threads?: number;
}

/** What the thread is started with. */
export interface InferenceSetup {
  readonly model: Uint8Array;
  readonly imageShape: readonly [height: number, width: number];
  readonly threads: number | undefined;
}

export type InferenceCall =
  | { readonly kind: "run"; readonly id: number; readonly images: Uint8Array; readonly count: number; readonly features: boolean }
  | { readonly kind: "close" };

export type InferenceAnswer =
  | { readonly kind: "ready" }
  | { readonly kind: "refused"; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: "result"; readonly id: number; readonly result: InferenceResult }
  | { readonly kind: "failed"; readonly id: number; readonly code: ErrorCode; readonly message: string };

interface Pending {
  readonly resolve: (result: InferenceResult) => void;
  readonly reject: (error: ServalError) => void;
}

/**
 * Starts a thread with one session (`session.run` blocks its thread, so it must not be the one that serves). When the
 * thread dies, the calls it had are rejected and a new one takes its place; one that dies before it has answered
 * anything is not replaced. Throws E_ENGINE_MODEL,
 * E_MODEL_UNSAFE, and E_ENGINE_TELEMETRY in a thread of a program that did not switch that off.
 */
export async function startInference(model: Uint8Array, options: InferenceOptions): Promise<Inference> {
  switchOffTelemetry();
  const [height, width] = options.imageShape;
  const setup: InferenceSetup = { model, imageShape: options.imageShape, threads: options.threads };
  const pending = new Map<number, Pending>();
  let nextId = 0;
  let worker: Worker | undefined;
  let closing: Promise<void> | undefined;
  let exited = Promise.resolve();

  const spawn = async (): Promise<void> => {
    // Runs from the sources and from the emitted JavaScript alike.
    const started = new Worker(new URL(`./inference-worker${extname(import.meta.url)}`, import.meta.url), {
      workerData: setup,
      name: "serval-inference",
    });
    worker = started;
    let answers = 0;
    let cause: unknown;
    await new Promise<void>((ready, refuse) => {
      exited = new Promise((resolve) => {
        started.once("exit", (code) => {
          if (worker === started) worker = undefined;
          const error = new ServalError("E_INFERENCE_STOPPED", `The inference thread ended with code ${code}${describe(cause)}.`, {
            cause,
          });
          refuse(error);
          for (const call of pending.values()) call.reject(error);
          pending.clear();
          resolve();
          // A model that kills its thread at the first picture would kill every thread; one that worked gets a new one.
          if (closing === undefined && answers > 0) spawn().catch(() => undefined); // seen in `alive` and by the next call
        });
      });
      started.on("error", (error) => void (cause = error));
      started.on("message", (answer: InferenceAnswer) => {
        if (answer.kind === "ready") ready();
        else if (answer.kind === "refused") refuse(new ServalError(answer.code, answer.message));
        else {
          answers++;
          const call = pending.get(answer.id);
          pending.delete(answer.id);
          if (answer.kind === "result") call?.resolve(answer.result);
          else call?.reject(new ServalError(answer.code, answer.message));
        }
      });
    });
  };

  await spawn();
  return {
    get alive() {
      return worker !== undefined && closing === undefined;
    },
    async run(images, count, { features = false } = {}) {
      const expected = count * height * width * 3;
      if (images.length !== expected || count < 1) {
        throw new ServalError(
          "E_ENGINE_RUN",
          `Expected ${expected} bytes, uint8 [${count}, ${height}, ${width}, 3], got ${images.length}.`,
        );
      }
      const target = worker;
      if (target === undefined || closing !== undefined) {
        throw new ServalError("E_INFERENCE_STOPPED", `The inference thread is ${closing ? "closed" : "stopped and was not restarted"}.`);
      }
      const id = ++nextId;
      return await new Promise<InferenceResult>((resolve, reject) => {
        pending.set(id, { resolve, reject });
        target.postMessage({ kind: "run", id, images, count, features } satisfies InferenceCall);
      });
    },
    close() {
      closing ??= (async () => {
        // The message waits its turn behind the calls that were made before.
        worker?.postMessage({ kind: "close" } satisfies InferenceCall);
        await exited;
      })();
      return closing;
    },
  };
}

function describe(cause: unknown): string {
  return cause instanceof Error ? ` (${cause.message})` : "";
}
