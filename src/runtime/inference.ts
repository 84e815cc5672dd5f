import { extname } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { startWorker } from "../threads/carrier.ts";
import { KeptThread } from "../threads/kept-thread.ts";
import { lossError } from "../threads/loss.ts";
import { Thread } from "../threads/thread.ts";
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

export interface InferenceProtocol {
  readonly call: { readonly images: Uint8Array; readonly count: number; readonly features: boolean };
  readonly answer: InferenceResult;
}

/** One model in a separate thread. Calls are answered in the order in which they were made. */
export class Inference {
  readonly #kept: KeptThread<InferenceProtocol>;
  readonly #imageShape: InferenceOptions["imageShape"];

  constructor(kept: KeptThread<InferenceProtocol>, imageShape: InferenceOptions["imageShape"]) {
    this.#kept = kept;
    this.#imageShape = imageShape;
  }

  /** False once the thread has stopped and will not be restarted: every further call is refused. */
  get alive(): boolean {
    return this.#kept.state === "ready" || this.#kept.state === "starting";
  }

  /**
   * Runs the model on images uint8 [count,H,W,3]. The bytes are copied before this returns. Throws E_ENGINE_RUN, or
   * E_INFERENCE_STOPPED where the thread stopped before it could answer.
   */
  async run(images: Uint8Array, count: number, { features = false }: { features?: boolean } = {}): Promise<InferenceResult> {
    const [height, width] = this.#imageShape;
    const expected = count * height * width * 3;
    if (images.length !== expected || count < 1) {
      throw new ServalError("E_ENGINE_RUN", `Expected ${expected} bytes, uint8 [${count}, ${height}, ${width}, 3], got ${images.length}.`);
    }
    const { state, thread } = this.#kept;
    if (thread === undefined || state === "closed") {
      const why = state === "closed" ? "closed" : "stopped and was not restarted";
      throw new ServalError("E_INFERENCE_STOPPED", `The inference thread is ${why}.`);
    }
    return await thread.ask({ images, count, features });
  }

  /** Answers what was asked already, then ends the thread. */
  async close(): Promise<void> {
    await this.#kept.close();
  }
}

/**
 * Starts a thread with one session (`session.run` blocks its thread, so it must not be the one that serves). When the
 * thread dies, the calls it had are rejected and a new one takes its place; one that dies before it has answered
 * anything is not replaced. Throws E_ENGINE_MODEL,
 * E_MODEL_UNSAFE, and E_ENGINE_TELEMETRY in a thread of a program that did not switch that off.
 */
export async function startInference(model: Uint8Array, { imageShape, threads }: InferenceOptions): Promise<Inference> {
  switchOffTelemetry();
  const data: InferenceSetup = { model, imageShape, threads };
  const kept = new KeptThread<InferenceProtocol>({
    // Runs from the sources and from the emitted JavaScript alike.
    start: () =>
      new Thread(
        startWorker({ file: new URL(`./inference-worker${extname(import.meta.url)}`, import.meta.url), name: "serval-inference", data }),
        { lost: lossError("E_INFERENCE_STOPPED", "The inference thread") },
      ),
    // A model that kills its thread at the first picture would kill every thread; one that worked gets a new one.
    pauseMs: (unanswered) => (unanswered === 0 ? 0 : undefined),
  });
  await kept.start();
  return new Inference(kept, imageShape);
}
