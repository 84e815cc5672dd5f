/** What a step adds to the smoothed loss. */
const share = 0.05;
/** Fewest and most steps that the loss stays high before the run is given up. */
const fewest = 50;
const most = 200;
/** Losses below this count as this: long success must not hide a later failure. */
const smallest = 1e-3;
/** A loss that still falls below this share of itself within that time is recovering. */
const recovering = 0.8;

export interface DivergenceOptions {
  readonly classes: number;
  /** Number of steps in which a high loss does not stop training. */
  readonly warmupSteps: number;
  readonly stepsPerEpoch: number;
}

/**
 * Watches the training loss for a run that has diverged without becoming infinite. A network that answers every picture with equal
 * probabilities has a loss of ln(classes) whatever the targets are, so label smoothing, mixup and unequal classes never move
 * a healthy run above it; the limit lies far beyond, and the loss has to stay there for an epoch without falling.
 * The mean is geometric: one loss of a million among good ones moves it little, where it would rule an arithmetic one.
 */
export class DivergenceWatch {
  /** Smoothed loss above which a run is worse than guessing, by a wide margin. */
  readonly limit: number;
  readonly #patience: number;
  readonly #warmupSteps: number;
  #logSum = 0;
  #weight = 0;
  #stepsAbove = 0;
  #lossWhenAbove = 0;

  constructor({ classes, warmupSteps, stepsPerEpoch }: DivergenceOptions) {
    this.limit = 2 * Math.log(classes) + 1;
    this.#patience = Math.min(most, Math.max(fewest, stepsPerEpoch));
    this.#warmupSteps = warmupSteps;
  }

  /** Geometric mean of the last losses; the latest count most. */
  get smoothed(): number {
    return this.#weight === 0 ? 0 : Math.exp(this.#logSum / this.#weight);
  }

  /** True while the loss is so high that a checkpoint would not be a good one. */
  get isHigh(): boolean {
    return this.smoothed > this.limit;
  }

  /** Takes in the loss of step `step` (from 0); true where the run has diverged. */
  follow(loss: number, step: number): boolean {
    this.#logSum += share * (Math.log(Math.max(loss, smallest)) - this.#logSum);
    this.#weight += share * (1 - this.#weight);
    if (!this.isHigh || step < this.#warmupSteps) {
      this.#stepsAbove = 0;
      return false;
    }
    if (this.#stepsAbove++ === 0) this.#lossWhenAbove = this.smoothed;
    if (this.#stepsAbove < this.#patience) return false;
    this.#stepsAbove = 0;
    return this.smoothed > recovering * this.#lossWhenAbove;
  }
}
