import { ServalError, type ErrorCode } from "../../src/errors/serval-error.ts";
import type { Random } from "./random.ts";

export type Mutate = (input: Uint8Array, random: Random, corpus: readonly Uint8Array[]) => Uint8Array;

/** Something that reads bytes from strangers. */
export interface FuzzTarget {
  /** Good inputs to begin with. */
  readonly seeds: readonly Uint8Array[];
  readonly mutate: Mutate;
  /** Whether JavaScript reads the input, so that the blocks that run say how far an input gets. */
  readonly guided: boolean;
  /** Reads one input. Throws where it is neither accepted nor refused as it should be. */
  readonly run: (input: Uint8Array) => Promise<void>;
  readonly close?: () => Promise<void>;
}

/** An input that was accepted, and for which something that must hold does not. */
class BrokenPromise extends Error {
  override readonly name = "BrokenPromise";
}

export function expectThat(condition: boolean, promise: string): asserts condition {
  if (!condition) throw new BrokenPromise(promise);
}

/** Lets the refusals pass that are meant for such input. */
export function expectRefusal(error: unknown, codes: readonly ErrorCode[]): void {
  if (!(error instanceof ServalError) || !codes.includes(error.code)) throw error;
}
