import { chiSquareSurvival } from "./chi-square.ts";
import type { TestResult } from "./kolmogorov-smirnov.ts";

/** Mean and covariance of a sample of vectors. */
export interface Moments {
  readonly count: number;
  /** [D] */
  readonly mean: readonly number[];
  /** The lower triangle of the covariance, row by row: [D (D + 1) / 2]. */
  readonly covariance: readonly number[];
}

/** Each vector has the length of the first. */
export function describeVectors(vectors: readonly ArrayLike<number>[]): Moments {
  const size = vectors[0]?.length ?? 0;
  const count = vectors.length;
  const mean = meanOf(vectors, size);
  const covariance: number[] = [];
  for (let row = 0; row < size; row++) {
    for (let column = 0; column <= row; column++) {
      let total = 0;
      for (const vector of vectors) {
        total += ((vector[row] as number) - (mean[row] as number)) * ((vector[column] as number) - (mean[column] as number));
      }
      covariance.push(total / count);
    }
  }
  return { count, mean, covariance };
}

/**
 * Whether vectors come from a distribution with the mean of the reference: Hotelling's T^2 (Hotelling 1931) with the covariance of the
 * reference, which is the maximum mean discrepancy with the linear kernel of whitened vectors (Gretton et al. 2012), in closed form:
 * T^2 = m n / (m + n) * d' C^-1 d, asymptotically chi-square with D degrees of freedom. Throws RangeError where the lengths differ.
 */
export function meanShift(vectors: readonly ArrayLike<number>[], reference: Moments): TestResult {
  const size = reference.mean.length;
  if (vectors.length === 0) return { statistic: 0, pValue: 1 };
  if (vectors.some(({ length }) => length !== size)) throw new RangeError(`A vector has not the ${size} numbers of the reference.`);
  const mean = meanOf(vectors, size);
  const difference = mean.map((value, i) => value - (reference.mean[i] as number));
  const factor = choleskyFactor(reference.covariance, size);
  const whitened = solveLower(factor, difference);
  const squares = whitened.reduce((total, value) => total + value ** 2, 0);
  const statistic = ((reference.count * vectors.length) / (reference.count + vectors.length)) * squares;
  return { statistic, pValue: chiSquareSurvival(statistic, size) };
}

function meanOf(vectors: readonly ArrayLike<number>[], size: number): number[] {
  const mean = Array.from({ length: size }, () => 0);
  for (const vector of vectors) {
    for (let i = 0; i < size; i++) mean[i] = (mean[i] as number) + (vector[i] as number) / vectors.length;
  }
  return mean;
}

/** Lower triangle L with L L' = the matrix plus a millionth of its mean variance on the diagonal: constant numbers divide nothing by 0. */
function choleskyFactor(covariance: readonly number[], size: number): number[][] {
  const at = (row: number, column: number): number => covariance[(row * (row + 1)) / 2 + column] as number;
  let trace = 0;
  for (let i = 0; i < size; i++) trace += at(i, i);
  const ridge = Math.max(1e-12, (1e-6 * trace) / size);
  const factor: number[][] = [];
  for (let row = 0; row < size; row++) {
    const own: number[] = [];
    factor.push(own);
    for (let column = 0; column <= row; column++) {
      const other = factor[column] as number[];
      let rest = at(row, column) + (row === column ? ridge : 0);
      for (let k = 0; k < column; k++) rest -= (own[k] as number) * (other[k] as number);
      own.push(row === column ? Math.sqrt(Math.max(ridge, rest)) : rest / (other[column] as number));
    }
  }
  return factor;
}

function solveLower(factor: readonly (readonly number[])[], right: readonly number[]): number[] {
  const solution: number[] = [];
  for (const [row, coefficients] of factor.entries()) {
    let rest = right[row] as number;
    for (let k = 0; k < row; k++) rest -= (coefficients[k] as number) * (solution[k] as number);
    solution.push(rest / (coefficients[row] as number));
  }
  return solution;
}
