import { extname } from "node:path";
import { ServalError, toServalError } from "../../errors/serval-error.ts";
import { startWorker } from "../../threads/carrier.ts";
import { lossError } from "../../threads/loss.ts";
import { Thread } from "../../threads/thread.ts";
import type { Batch } from "./batches.ts";
import type { TrainConfig } from "../train-job.ts";

/** What the thread that makes batches is told. */
export interface BatchPlan {
  readonly shardsDir: string;
  readonly config: TrainConfig;
  readonly batchSize: number;
  readonly classes: number;
  readonly stepsPerEpoch: number;
  /** Side of the pictures in each epoch. */
  readonly sizes: readonly number[];
  /** Steps of the whole training that are done already. */
  readonly firstStep: number;
}

/** One call, which makes batches until there are enough or they are not wanted any more. */
export interface BatchProtocol {
  readonly call: BatchPlan;
  readonly answer: null;
}

/** Batches that may be ready ahead of the engine. */
const slots = 3;
/** Words at the start of the shared memory. */
export const word = { made: 0, taken: 1, stopped: 2 } as const;
const headerBytes = 64;

/** The shared memory: counters of batches made and taken, then the slots. */
export function batchLayout(
  plan: BatchPlan,
  shared?: SharedArrayBuffer,
): { shared: SharedArrayBuffer; control: Int32Array; slot: (step: number, side: number) => Batch } {
  const largest = Math.max(...plan.sizes);
  const align = (bytes: number): number => Math.ceil(bytes / 64) * 64;
  const imageBytes = align(plan.batchSize * largest ** 2 * 3);
  const targetBytes = align(plan.batchSize * plan.classes * 4);
  const slotBytes = imageBytes + targetBytes + align(plan.batchSize * 2);
  const memory = shared ?? new SharedArrayBuffer(headerBytes + slots * slotBytes);
  return {
    shared: memory,
    control: new Int32Array(memory, 0, 3),
    slot(step, side) {
      const start = headerBytes + (step % slots) * slotBytes;
      return {
        images: new Uint8Array(memory, start, plan.batchSize * side ** 2 * 3),
        targets: new Float32Array(memory, start + imageBytes, plan.batchSize * plan.classes),
        classIndex: new Uint16Array(memory, start + imageBytes + targetBytes, plan.batchSize),
      };
    },
  };
}

/** True once the slots hold a free one for step `made` (counted from the first one). */
export function hasFreeSlot(control: Int32Array): boolean {
  return Atomics.load(control, word.made) - Atomics.load(control, word.taken) < slots;
}

/** Batches made ahead in a separate thread, so that the engine does not wait for them. */
export class BatchSource {
  readonly #plan: BatchPlan;
  readonly #layout: ReturnType<typeof batchLayout>;
  readonly #thread: Thread<BatchProtocol>;
  #failure: ServalError | undefined;

  constructor(plan: BatchPlan) {
    this.#plan = plan;
    this.#layout = batchLayout(plan);
    const file = new URL(`./batch-worker${extname(import.meta.url)}`, import.meta.url);
    this.#thread = new Thread(startWorker({ file, name: "serval-batches", data: this.#layout.shared }), {
      lost: lossError("E_INTERNAL", "The thread that makes batches"),
    });
    this.#thread.ask(plan).catch((error: unknown) => this.#fail(toServalError(error)));
  }

  #fail(error: ServalError): void {
    this.#failure ??= error;
    Atomics.store(this.#layout.control, word.stopped, 1);
    Atomics.notify(this.#layout.control, word.made);
  }

  /** Copies the next batch into `target` and frees its slot. Throws what went wrong in the thread. */
  async next(target: Batch): Promise<void> {
    const { control, slot } = this.#layout;
    const taken = Atomics.load(control, word.taken);
    while (Atomics.load(control, word.made) === taken) {
      if (this.#failure) throw this.#failure;
      await Atomics.waitAsync(control, word.made, taken).value;
    }
    const step = this.#plan.firstStep + taken;
    const from = slot(taken, this.#plan.sizes[Math.floor(step / this.#plan.stepsPerEpoch)] as number);
    target.images.set(from.images);
    target.targets.set(from.targets);
    target.classIndex.set(from.classIndex);
    Atomics.add(control, word.taken, 1);
    Atomics.notify(control, word.taken);
  }

  async close(): Promise<void> {
    const { control } = this.#layout;
    Atomics.store(control, word.stopped, 1);
    Atomics.add(control, word.taken, 1);
    Atomics.notify(control, word.taken);
    await this.#thread.close();
  }
}
