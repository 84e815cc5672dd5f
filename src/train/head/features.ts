/** What a backbone makes of pictures: one row of `width` numbers for each of them. */
export interface Features {
  readonly rows: number;
  readonly width: number;
  /** [rows, width] */
  readonly values: Float32Array;
}

/** The square root of each number; none may be negative. */
export function rootOf({ rows, width, values }: Features): Features {
  return { rows, width, values: values.map((value) => Math.sqrt(value)) };
}

/** Mean and standard deviation of each column, [width]. */
export interface Scale {
  readonly mean: Float64Array;
  readonly deviation: Float64Array;
}

/** Columns that hardly vary are divided by this: they say nothing, and must not become noise. */
const smallestDeviation = 1e-6;

export function measureScale({ rows, width, values }: Features): Scale {
  const [mean, square] = [new Float64Array(width), new Float64Array(width)];
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < width; k++) {
      const value = values[row * width + k] as number;
      mean[k] = (mean[k] as number) + value / rows;
      square[k] = (square[k] as number) + (value * value) / rows;
    }
  }
  const deviation = square.map((value, k) => Math.max(smallestDeviation, Math.sqrt(Math.max(0, value - (mean[k] as number) ** 2))));
  return { mean, deviation };
}

/** Each column with a mean of 0 and a standard deviation of 1, by a scale that was measured before. */
export function standardize({ rows, width, values }: Features, { mean, deviation }: Scale): Features {
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < width; k++) {
      const at = row * width + k;
      result[at] = ((values[at] as number) - (mean[k] as number)) / (deviation[k] as number);
    }
  }
  return { rows, width, values: result };
}

/** The rows that `order` names. */
export function selectRows({ width, values }: Features, order: ArrayLike<number>): Features {
  const result = new Float32Array(order.length * width);
  for (let row = 0; row < order.length; row++) {
    const from = (order[row] as number) * width;
    result.set(values.subarray(from, from + width), row * width);
  }
  return { rows: order.length, width, values: result };
}
