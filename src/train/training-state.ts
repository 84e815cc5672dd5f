import { ServalError } from "../errors.ts";
import { NEXT, type StateSpec } from "../nn/training-step.ts";
import { elementCount } from "../onnx/builder.ts";
import type { Tensor } from "../runtime/engine.ts";
import type { Random } from "./random.ts";

function tensor(shape: readonly number[]): Tensor & { data: Float32Array } {
  return { dtype: "float32", shape, data: new Float32Array(elementCount(shape)) };
}

/**
 * The tensors that go round from step to step, in two sets of buffers: a step reads one and writes the other. The
 * engine reads feeds in place, so updating them in place would be a race.
 */
export class TrainingState {
  readonly specs: readonly StateSpec[];
  #current: Record<string, Tensor & { data: Float32Array }> = {};
  #next: Record<string, Tensor & { data: Float32Array }> = {};

  constructor(specs: readonly StateSpec[]) {
    this.specs = specs;
    for (const { name, shape } of specs) {
      this.#current[name] = tensor(shape);
      this.#next[name] = tensor(shape);
    }
  }

  initialize(random: Random): void {
    for (const { name, initial } of this.specs) {
      const { data } = this.#current[name] as { data: Float32Array };
      if ("constant" in initial) data.fill(initial.constant);
      else for (let k = 0; k < data.length; k++) data[k] = random.normal() * initial.std;
    }
  }

  /** Puts back what a checkpoint holds; throws E_CHECKPOINT_CORRUPT where a tensor is missing or has another size. */
  restore(saved: Readonly<Record<string, Float32Array>>): void {
    for (const { name } of this.specs) {
      const { data } = this.#current[name] as { data: Float32Array };
      const from = saved[name];
      if (from?.length !== data.length)
        throw new ServalError(
          "E_CHECKPOINT_CORRUPT",
          `Tensor "${name}" of the checkpoint has ${from?.length ?? 0} numbers; expected ${data.length}.`,
        );
      data.set(from);
    }
  }

  get feeds(): Readonly<Record<string, Tensor>> {
    return this.#current;
  }

  get targets(): Record<string, Tensor> {
    return Object.fromEntries(this.specs.map(({ name }) => [`${NEXT}${name}`, this.#next[name] as Tensor]));
  }

  advance(): void {
    [this.#current, this.#next] = [this.#next, this.#current];
  }

  /** Copies of the tensors with one of these roles. */
  snapshot(...roles: readonly StateSpec["role"][]): Record<string, Float32Array> {
    const chosen = this.specs.filter(({ role }) => roles.includes(role));
    return Object.fromEntries(chosen.map(({ name }) => [name, (this.#current[name] as { data: Float32Array }).data.slice()]));
  }

  /** False where training has diverged into infinities or NaN. */
  isFinite(): boolean {
    return this.specs.every(({ name }) => (this.#current[name] as { data: Float32Array }).data.every(Number.isFinite));
  }
}
