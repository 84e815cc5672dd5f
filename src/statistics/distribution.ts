/** Equal-width bins from `low` to `high`; values outside count in the outer bins. */
export interface Histogram {
  readonly low: number;
  readonly high: number;
  readonly counts: readonly number[];
}

/** A sample of one number, summarised. */
export interface Distribution {
  readonly mean: number;
  readonly standardDeviation: number;
  /** At `quantileLevels`: 1, 5, 25, 50, 75, 95 and 99 %. Empty for an empty sample. */
  readonly quantiles: readonly number[];
  readonly histogram: Histogram;
}

export const quantileLevels: readonly number[] = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];

const binCount = 20;

/** Mean, deviation, quantiles (linear between neighbours) and histogram, rounded to six digits so that the record stays small. */
export function describeDistribution(values: readonly number[], [low, high]: readonly [low: number, high: number]): Distribution {
  const counts = Array.from({ length: binCount }, () => 0);
  for (const value of values) {
    const bin = Math.min(binCount - 1, Math.max(0, Math.floor(((value - low) / (high - low)) * binCount)));
    counts[bin] = (counts[bin] as number) + 1;
  }
  const sorted = values.toSorted((a, b) => a - b);
  const mean = values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.length === 0 ? 0 : values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return {
    mean: roundDigits(mean),
    standardDeviation: roundDigits(Math.sqrt(variance)),
    quantiles: values.length === 0 ? [] : quantileLevels.map((level) => roundDigits(quantile(sorted, level))),
    histogram: { low, high, counts },
  };
}

/** Of ascending values, linear between neighbours. */
export function quantile(sorted: readonly number[], level: number): number {
  const position = level * (sorted.length - 1);
  const below = Math.floor(position);
  const lower = sorted[below] as number;
  return lower + (position - below) * ((sorted[below + 1] ?? lower) - lower);
}

/** To six significant digits. */
export function roundDigits(value: number): number {
  return Number(value.toPrecision(6));
}
