import { scoreOutlier, unitRows } from "../../src/model/feature-space.ts";

/** Scores that were compared: higher is farther. Small matrices of our own here, because only one of them went into the product. */
export interface NamedScore {
  readonly name: string;
  readonly score: (row: Float32Array, logits: Float32Array) => number;
}

export interface ScoreInput {
  readonly channels: number;
  readonly classes: number;
  /** [count, channels] */
  readonly train: Float32Array;
  /** [count, classes] */
  readonly logits: Float32Array;
  readonly classIndex: readonly number[];
}

/** Of the mean variance, added to every direction. */
const ridgeShare = 0.01;

export function fitScores(input: ScoreInput): NamedScore[] {
  const { train, channels, classes, classIndex } = input;
  const count = classIndex.length;
  const rows = Array.from({ length: count }, (_, r) => Float64Array.from(train.subarray(r * channels, (r + 1) * channels)));
  const centre = meanOf(rows);
  const means = Array.from({ length: classes }, (_, k) => meanOf(rows.filter((_, r) => classIndex[r] === k)));
  const within = covariance(
    rows.map((row, r) => minus(row, means[classIndex[r] as number] as Float64Array)),
    ridgeShare,
  );
  const all = covariance(
    rows.map((row) => minus(row, centre)),
    ridgeShare,
  );
  const nearest = (row: Float32Array): number => Math.min(...means.map((mean) => within.distance(minus(row, mean))));
  return [
    { name: "confidence (without a score)", score: (_, logits) => -Math.max(...softmax(logits)) },
    { name: "Mahalanobis, one covariance", score: nearest },
    { name: "relative Mahalanobis", score: (row) => nearest(row) - all.distance(minus(row, centre)) },
    ...[64, 256].map((size) => ({ name: `ViM, ${size} directions`, score: fitVim(rows, centre, input, size) })),
    ...[100, 500, 2000]
      .filter((size) => size <= count)
      .flatMap((size) => {
        const step = count / size;
        const some = Float32Array.from(Array.from({ length: size }, (_, i) => [...(rows[Math.floor(i * step)] as Float64Array)]).flat());
        const neighbours = unitRows(some, channels);
        return [1, 5, 10].map((k) => ({
          name: `neighbour ${k} of ${size}`,
          score: (row: Float32Array) => scoreOutlier({ neighbours, k, threshold: 0 }, row),
        }));
      }),
  ];
}

function minus(row: ArrayLike<number>, other: Float64Array): Float64Array {
  return other.map((value, c) => (row[c] as number) - value);
}

function meanOf(rows: readonly Float64Array[]): Float64Array {
  const mean = new Float64Array(rows[0]?.length ?? 0);
  for (const row of rows) for (let c = 0; c < mean.length; c++) mean[c] = (mean[c] as number) + (row[c] as number) / rows.length;
  return mean;
}

function softmax(logits: Float32Array): number[] {
  const most = Math.max(...logits);
  const powers = [...logits].map((value) => Math.exp(value - most));
  return powers.map((power) => power / powers.reduce((sum, value) => sum + value, 0));
}

interface Covariance {
  readonly matrix: Float64Array;
  /** Squared Mahalanobis distance. */
  readonly distance: (row: Float64Array) => number;
}

/** Of rows that have the mean 0, with Cholesky's factor (Golub & Van Loan, 4.2). */
function covariance(rows: readonly Float64Array[], ridge: number): Covariance {
  const n = rows[0]?.length ?? 0;
  const matrix = new Float64Array(n * n);
  for (const row of rows) {
    for (let i = 0; i < n; i++) {
      const value = (row[i] as number) / rows.length;
      for (let j = 0; j <= i; j++) matrix[i * n + j] = (matrix[i * n + j] as number) + value * (row[j] as number);
    }
  }
  let trace = 0;
  for (let i = 0; i < n; i++) {
    trace += matrix[i * n + i] as number;
    for (let j = 0; j < i; j++) matrix[j * n + i] = matrix[i * n + j] as number;
  }
  const factor = matrix.slice();
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = (factor[i * n + j] as number) + (i === j ? (ridge * trace) / n : 0);
      for (let k = 0; k < j; k++) sum -= (factor[i * n + k] as number) * (factor[j * n + k] as number);
      factor[i * n + j] = i === j ? Math.sqrt(sum) : sum / (factor[j * n + j] as number);
    }
  }
  const distance = (row: Float64Array): number => {
    const white = new Float64Array(n);
    let total = 0;
    for (let i = 0; i < n; i++) {
      let sum = row[i] as number;
      for (let k = 0; k < i; k++) sum -= (factor[i * n + k] as number) * (white[k] as number);
      white[i] = sum / (factor[i * n + i] as number);
      total += (white[i] as number) ** 2;
    }
    return total;
  };
  return { matrix, distance };
}

/** Wang et al. 2022, arXiv:2203.10807, with the mean of the features as the origin: the length of what the leading directions leave, against the logits. */
function fitVim(rows: readonly Float64Array[], centre: Float64Array, { logits, classes }: ScoreInput, size: number): NamedScore["score"] {
  const moved = rows.map((row) => minus(row, centre));
  const directions = leadingDirections(covariance(moved, 0).matrix, centre.length, size);
  const left = (row: Float64Array): number => {
    let squares = row.reduce((sum, value) => sum + value * value, 0);
    for (const direction of directions) squares -= row.reduce((sum, value, c) => sum + value * (direction[c] as number), 0) ** 2;
    return Math.sqrt(Math.max(0, squares));
  };
  const best = moved.reduce((sum, _, r) => sum + Math.max(...logits.subarray(r * classes, (r + 1) * classes)), 0);
  const alpha = best / moved.reduce((sum, row) => sum + left(row), 0);
  return (row, own) => {
    const most = Math.max(...own);
    return alpha * left(minus(row, centre)) - most - Math.log([...own].reduce((sum, value) => sum + Math.exp(value - most), 0));
  };
}

/** By subspace iteration (Golub & Van Loan, 8.2.4): twelve steps, enough to span what varies most. */
function leadingDirections(matrix: Float64Array, n: number, size: number): Float64Array[] {
  let block = Array.from({ length: size }, (_, k) =>
    Float64Array.from({ length: n }, (_, c) => Math.sin(1 + 7 * k * n + 13 * c * (k + 1))),
  );
  for (let step = 0; step < 12; step++) {
    block = block.map((row) => {
      const product = new Float64Array(n);
      for (let i = 0; i < n; i++) {
        let sum = 0;
        for (let c = 0; c < n; c++) sum += (row[c] as number) * (matrix[i * n + c] as number);
        product[i] = sum;
      }
      return product;
    });
    for (const [k, row] of block.entries()) {
      for (const other of block.slice(0, k)) {
        const along = row.reduce((sum, value, c) => sum + value * (other[c] as number), 0);
        for (let c = 0; c < n; c++) row[c] = (row[c] as number) - along * (other[c] as number);
      }
      const length = Math.hypot(...row);
      for (let c = 0; c < n; c++) row[c] = (row[c] as number) / length;
    }
  }
  return block;
}
