import { ServalError } from "../errors/serval-error.ts";
import { weightOf } from "../nn/network.ts";
import { NEXT, type StateSpec } from "../nn/training-step.ts";
import { elementCount } from "../onnx/builder.ts";
import type { Tensor } from "../runtime/engine.ts";
import { Random } from "../random.ts";

/** Stream of the seed that the first weights are drawn from. */
const weightStream = 1;

function tensor(shape: readonly number[]): Tensor & { data: Float32Array } {
  return { dtype: "float32", shape, data: new Float32Array(elementCount(shape)) };
}

/**
 * The tensors that go round from step to step, in two sets of buffers: a step reads one and writes the other. The
 * engine reads feeds in place, so updating them in place would be a race.
 */
export class TrainingState {
  readonly specs: readonly StateSpec[];
  readonly #current: Record<string, Tensor & { data: Float32Array }> = {};
  readonly #next: Record<string, Tensor & { data: Float32Array }> = {};

  constructor(specs: readonly StateSpec[]) {
    this.specs = specs;
    for (const { name, shape } of specs) {
      this.#current[name] = tensor(shape);
      this.#next[name] = tensor(shape);
    }
  }

  /** Draws the first weights; `seed` decides them. */
  initialize(seed: number): void {
    const random = new Random(seed, weightStream);
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

  /** Takes weights of another model for the tensors that it has; throws E_WEIGHTS where one has another size. */
  take(weights: Readonly<Record<string, Float32Array>>): void {
    for (const name of Object.keys(weights)) {
      const { data } = this.#current[name] as { data: Float32Array };
      data.set(weightOf(weights, name, data.length));
    }
  }

  /** The optimizer begins again. */
  clearSlots(): void {
    for (const { name, role } of this.specs) if (role === "slot") this.#current[name]?.data.fill(0);
  }

  /** What the engine reads: the tensors `of` a step, which may be fewer than all, or all. */
  feeds(of: readonly StateSpec[] = this.specs): Readonly<Record<string, Tensor>> {
    return Object.fromEntries(of.map(({ name }) => [name, this.#current[name] as Tensor]));
  }

  /** Where the engine writes the next values of the tensors `of` a step. */
  targets(of: readonly StateSpec[]): Record<string, Tensor> {
    return Object.fromEntries(of.map(({ name }) => [`${NEXT}${name}`, this.#next[name] as Tensor]));
  }

  /** Makes what was written current, for the tensors `of` the step that wrote them. */
  advance(of: readonly StateSpec[]): void {
    for (const { name } of of) {
      const written = this.#next[name] as Tensor & { data: Float32Array };
      this.#next[name] = this.#current[name] as typeof written;
      this.#current[name] = written;
    }
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
