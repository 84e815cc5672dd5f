import type { TestResult } from "./kolmogorov-smirnov.ts";

/** Cells that are expected to hold less are put together: the approximation needs about five in each (Cochran 1954). */
const fewestExpected = 5;

/**
 * Whether two samples have the same shares: Pearson's chi-square test of the 2 x K table of counts, without Yates' correction, as
 * `chi2_contingency(..., correction=False)` of SciPy. Rare categories are put together.
 */
export function chiSquareOfCounts(first: readonly number[], second: readonly number[]): TestResult {
  const total = [sum(first), sum(second)] as const;
  const all = total[0] + total[1];
  if (total[0] === 0 || total[1] === 0) return { statistic: 0, pValue: 1 };
  const cells = poolRare(first, second, Math.min(...total) / all);
  let statistic = 0;
  for (const cell of cells) {
    for (const side of [0, 1] as const) {
      const expected = ((cell[0] + cell[1]) * total[side]) / all;
      statistic += (cell[side] - expected) ** 2 / expected;
    }
  }
  return { statistic, pValue: cells.length < 2 ? 1 : chiSquareSurvival(statistic, cells.length - 1) };
}

/** Pairs of counts, with the rare ones as one pair; `share`: of the smaller sample in both. */
function poolRare(first: readonly number[], second: readonly number[], share: number): (readonly [number, number])[] {
  const pairs = first.map((count, i): [number, number] => [count, second[i] as number]).toSorted((a, b) => b[0] + b[1] - a[0] - a[1]);
  const isRare = ([a, b]: readonly [number, number]): boolean => (a + b) * share < fewestExpected;
  const common = pairs.filter((pair) => !isRare(pair));
  const rest = pairs.filter((pair) => isRare(pair) && pair[0] + pair[1] > 0);
  if (rest.length === 0) return common;
  const pooled: [number, number] = [sum(rest.map(([a]) => a)), sum(rest.map(([, b]) => b))];
  if (!isRare(pooled) || common.length === 0) return [...common, pooled];
  const [a, b] = common.pop() as [number, number];
  return [...common, [a + pooled[0], b + pooled[1]]];
}

/** P(X > x) of the chi-square distribution with `degrees` degrees of freedom. */
export function chiSquareSurvival(x: number, degrees: number): number {
  return x <= 0 ? 1 : upperGamma(degrees / 2, x / 2);
}

/**
 * Regularised upper incomplete gamma function Q(a, x) (Abramowitz and Stegun 6.5): the series of P below a + 1, and Lentz's continued
 * fraction of Q above.
 */
function upperGamma(a: number, x: number): number {
  const scale = Math.exp(a * Math.log(x) - x - logGamma(a));
  if (x < a + 1) {
    let term = 1 / a;
    let total = term;
    for (let k = 1; k < 1000 && term > total * 1e-16; k++) {
      term *= x / (a + k);
      total += term;
    }
    return Math.max(0, 1 - total * scale);
  }
  const tiny = 1e-300;
  let b = x + 1 - a;
  let c = 1 / tiny;
  let d = 1 / b;
  let fraction = d;
  for (let k = 1; k < 1000; k++) {
    const factor = -k * (k - a);
    b += 2;
    d = 1 / (factor * d + b || tiny);
    c = b + factor / c || tiny;
    fraction *= d * c;
    if (Math.abs(d * c - 1) < 1e-16) break;
  }
  return Math.min(1, fraction * scale);
}

/** ln Gamma(x) for x > 0: Stirling's series (Abramowitz and Stegun 6.1.41) from 10 on, and the recurrence below. */
function logGamma(x: number): number {
  if (x < 10) return logGamma(x + 1) - Math.log(x);
  const series = 1 / (12 * x) - 1 / (360 * x ** 3) + 1 / (1260 * x ** 5) - 1 / (1680 * x ** 7);
  return (x - 0.5) * Math.log(x) - x + Math.log(2 * Math.PI) / 2 + series;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
