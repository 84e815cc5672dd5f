import { quantileLevels, type Distribution } from "./distribution.ts";

export interface TestResult {
  readonly statistic: number;
  readonly pValue: number;
}

/**
 * Two-sample Kolmogorov-Smirnov test of `values` against a sample of which only the summary is left. The statistic D is the largest
 * distance of the two distribution functions at the points where the summary gives the sample's: the edges of its histogram, and
 * its quantiles. That is at most the D of all points, so the test rather says too little than too much.
 * `count`: size of the summarised sample. pValue: the limit distribution, asymptotic in count * n / (count + n).
 */
export function kolmogorovSmirnov(values: readonly number[], sample: Distribution, count: number): TestResult {
  const sorted = Float64Array.from(values).sort();
  const n = sorted.length;
  const { low, high, counts } = sample.histogram;
  let statistic = 0;
  let below = 0;
  for (let edge = 1; edge < counts.length; edge++) {
    below += counts[edge - 1] as number;
    const at = low + ((high - low) * edge) / counts.length;
    statistic = Math.max(statistic, Math.abs(below / count - countBelow(sorted, at) / n));
  }
  for (const [i, at] of sample.quantiles.entries()) {
    // Where many values are equal, the level lies anywhere between the shares below and up to them.
    const level = quantileLevels[i] as number;
    const share = { below: countBelow(sorted, at) / n, upTo: countUpTo(sorted, at) / n };
    statistic = Math.max(statistic, share.below - level, level - share.upTo);
  }
  return { statistic, pValue: kolmogorovSurvival(Math.sqrt((count * n) / (count + n)) * statistic) };
}

/** P(K > x) of Kolmogorov's limit distribution (Kolmogorov 1933): 2 * sum of (-1)^(k-1) * exp(-2 k^2 x^2) over k = 1, 2, ... */
export function kolmogorovSurvival(x: number): number {
  // Below, the sum converges slowly and the value is 1 within 1e-12.
  if (x < 0.18) return 1;
  let sum = 0;
  for (let k = 1; k <= 100; k++) {
    const term = Math.exp(-2 * (k * x) ** 2);
    sum += k % 2 === 1 ? term : -term;
    if (term < 1e-17) break;
  }
  return Math.min(1, Math.max(0, 2 * sum));
}

/** How many of the ascending values are below `bound`. */
function countBelow(sorted: Float64Array, bound: number): number {
  return firstWhere(sorted, (value) => value >= bound);
}

/** How many of the ascending values are at most `bound`. */
function countUpTo(sorted: Float64Array, bound: number): number {
  return firstWhere(sorted, (value) => value > bound);
}

/** Index of the first value with a property that all later ones have too; the length where none has. */
function firstWhere(sorted: Float64Array, holds: (value: number) => boolean): number {
  let [from, to] = [0, sorted.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (holds(sorted[middle] as number)) to = middle;
    else from = middle + 1;
  }
  return from;
}
