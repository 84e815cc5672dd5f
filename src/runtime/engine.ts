import type { DType } from "../onnx/model.ts";

export type TensorData = Float32Array | Uint8Array | Int32Array | BigInt64Array;

/** A dense row-major tensor. `data.length` is the product of `shape`. */
export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

export interface SessionOptions {
  /** Threads inside one operator; default: all cores. */
  readonly threads?: number;
  /** False lets the threads of an operator sleep between operators instead of spinning; default: true. */
  readonly spin?: boolean;
  /** Writes an operator profile with this file prefix when the session closes. */
  readonly profilePrefix?: string;
}

/** A compiled model. Not for concurrent use: one `run` at a time. */
export interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /**
   * Runs the model. Feeds are read in place, without a copy, so they must not change while it runs. An entry of
   * `into` receives that output in place; outputs not named there are newly allocated. `outputs` names the ones to fetch
   * (default: all), because fetching large maps costs. Blocks the calling thread.
   */
  run(
    feeds: Readonly<Record<string, Tensor>>,
    into?: Readonly<Record<string, Tensor>>,
    outputs?: readonly string[],
  ): Promise<Record<string, Tensor>>;
  close(): Promise<void>;
}

export interface Engine {
  readonly name: string;
  /** Throws E_MODEL_UNSAFE for a model that was not loaded at all, and E_ENGINE_MODEL. */
  createSession(model: Uint8Array, options?: SessionOptions): Promise<Session>;
  /**
   * Channels per block of the CPU's blocked convolution layout (NCHWc): 16 with AVX-512, 8 with AVX2, or 0 where the
   * blocked operators are missing and the portable lowering must be used.
   */
  probeBlockSize(): Promise<number>;
}
