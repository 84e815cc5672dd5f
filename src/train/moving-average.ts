import { ServalError } from "../errors/serval-error.ts";
import type { Tensor } from "../runtime/engine.ts";

/** Steps from one update to the next, and the last step of each epoch: the average is the same to the eye, at an eighth of the cost. */
const every = 8;
const prefix = "ema:";

/**
 * Exponential moving average of weights over the steps, which generalises better than the last ones (Polyak and Juditsky
 * 1992; Tarvainen and Valpola 2017, arXiv:1703.01780).
 */
export class MovingAverage {
  readonly #decay: number;
  readonly #stepsPerEpoch: number;
  readonly #tensors: Readonly<Record<string, Float32Array>>;

  /** `decay` a step, in (0, 1); starts at `weights`, which it copies. */
  constructor(decay: number, stepsPerEpoch: number, weights: Readonly<Record<string, Float32Array>>) {
    this.#decay = decay;
    this.#stepsPerEpoch = stepsPerEpoch;
    this.#tensors = Object.fromEntries(Object.entries(weights).map(([name, data]) => [name, data.slice()]));
  }

  /** Takes in the weights after step `step` (from 1); young averages follow faster, so that the first weights are soon forgotten. */
  follow(weights: Readonly<Record<string, Tensor>>, step: number): void {
    const epoch = this.#stepsPerEpoch;
    if (step % every !== 0 && step % epoch !== 0) return;
    // Both follow from the step alone, so a training that is resumed has the same average.
    const updated = Math.max(Math.floor((step - 1) / every) * every, Math.floor((step - 1) / epoch) * epoch);
    const decay = Math.min(this.#decay, (1 + step) / (10 + step)) ** (step - updated);
    for (const [name, average] of Object.entries(this.#tensors)) {
      const data = weights[name]?.data as Float32Array;
      for (let k = 0; k < average.length; k++) average[k] = decay * (average[k] as number) + (1 - decay) * (data[k] as number);
    }
  }

  snapshot(): Record<string, Float32Array> {
    return Object.fromEntries(Object.entries(this.#tensors).map(([name, data]) => [name, data.slice()]));
  }

  /** For a checkpoint. */
  tensors(): Record<string, Float32Array> {
    return Object.fromEntries(Object.entries(this.#tensors).map(([name, data]) => [`${prefix}${name}`, data]));
  }

  restore(saved: Readonly<Record<string, Float32Array>>): void {
    for (const [name, average] of Object.entries(this.#tensors)) {
      const from = saved[`${prefix}${name}`];
      if (from?.length !== average.length)
        throw new ServalError("E_CHECKPOINT_CORRUPT", `The checkpoint has no moving average of "${name}" of ${average.length} numbers.`);
      average.set(from);
    }
  }
}
