/** Steps of a range test, and the rates of its first and its last step. */
export const rangeSteps = 300;
const lowestRate = 1e-6;
const highestRate = 10;

/** Fewer points than this say nothing. */
export const fewestPoints = 40;
/** Half the width in steps of the window that smooths the losses. */
const halfWindow = 15;
/** What a step adds to the running mean that decides when to stop, and how far that may rise above its lowest value. */
const share = 0.1;
const stopAt = 4;
/** A curve that falls by less than this share of its beginning says nothing. */
const clearFall = 0.03;

export interface RatePoint {
  readonly learningRate: number;
  readonly loss: number;
}

export interface RateSuggestion {
  /** The smoothed loss at each of the points. */
  readonly smoothed: readonly number[];
  /** A tenth of `lowest`, to two digits; null where the loss did not fall clearly. */
  readonly suggestion: number | null;
  /** Rate at which the smoothed loss was lowest. */
  readonly lowest: number;
  /** Rate at which it fell fastest on the way there. */
  readonly steepest: number;
}

/** The rate of step `step` (from 0): equal steps of its logarithm. */
export function rangeRate(step: number): number {
  return lowestRate * (highestRate / lowestRate) ** (step / (rangeSteps - 1));
}

/** Says when the loss has risen so far that higher rates will tell nothing more. */
export class RangeEnd {
  #mean = 0;
  #weight = 0;
  #lowest = Infinity;

  follow(loss: number): boolean {
    if (!Number.isFinite(loss)) return true;
    this.#mean += share * (loss - this.#mean);
    this.#weight += share * (1 - this.#weight);
    const mean = this.#mean / this.#weight;
    // A mean of the first few losses says too little.
    if (this.#weight > 0.6) this.#lowest = Math.min(this.#lowest, mean);
    return mean > stopAt * this.#lowest;
  }
}

/**
 * Reads a learning rate from the losses of a range test (Smith 2017, arXiv:1506.01186): a tenth of the rate at which the
 * smoothed loss is lowest. At the lowest point itself training is already about to diverge; where the loss falls fastest
 * is the other usual choice, and depends more on the noise. Wants at least `fewestPoints` points.
 */
export function suggestRate(points: readonly RatePoint[]): RateSuggestion {
  const smoothed = smooth(points.map(({ loss }) => loss));
  // Nearer to the ends the window is narrow, and what it lets through is noise.
  const [first, last] = [halfWindow, points.length - 1 - halfWindow];
  let at = first;
  for (let k = first; k <= last; k++) if ((smoothed[k] as number) < (smoothed[at] as number)) at = k;
  let steepest = first;
  for (let k = first; k < at; k++) if (fall(smoothed, k) > fall(smoothed, steepest)) steepest = k;
  const rate = (k: number): number => points[k]?.learningRate ?? Number.NaN;
  const falls = (smoothed[at] as number) < (1 - clearFall) * (smoothed[first] as number);
  return {
    smoothed,
    suggestion: falls ? Number((rate(at) / 10).toPrecision(2)) : null,
    lowest: rate(at),
    steepest: rate(steepest),
  };
}

/** Difference over the two neighbours; the steps of the rate's logarithm are equal. */
function fall(values: readonly number[], k: number): number {
  const own = values[k] as number;
  return (values[k - 1] ?? own) - (values[k + 1] ?? own);
}

/**
 * Medians of three, which leave out single huge losses, then geometric means with triangular weights; centred, so that a
 * minimum stays where it is.
 */
function smooth(losses: readonly number[]): number[] {
  const calm = losses.map((loss, k) => [losses[k - 1] ?? loss, loss, losses[k + 1] ?? loss].sort((a, b) => a - b)[1] as number);
  return calm.map((_, k) => {
    let sum = 0;
    let weights = 0;
    // The window narrows at both ends: a lopsided one would be early there or late.
    const half = Math.min(halfWindow, k, losses.length - 1 - k);
    for (let offset = -half; offset <= half; offset++) {
      const weight = half + 1 - Math.abs(offset);
      sum += weight * Math.log(Math.max(calm[k + offset] as number, 1e-6));
      weights += weight;
    }
    return Math.exp(sum / weights);
  });
}
