/** One row of numbers a picture, [rows, width]. */
export interface Embeddings {
  readonly rows: number;
  readonly width: number;
  readonly values: Float32Array;
}

export interface Neighbour {
  readonly row: number;
  /** Cosine of the angle between the two rows, -1 to 1. */
  readonly similarity: number;
}

/** For each of `asked`, the `count` rows that are most like it, without itself; most similar first. */
export function findNearest({ rows, width, values }: Embeddings, asked: readonly number[], count: number): Neighbour[][] {
  const norms = Float64Array.from({ length: rows }, (_, row) => Math.sqrt(product(values, row * width, row * width, width)) || 1);
  return asked.map((own) => {
    const nearest: Neighbour[] = [];
    for (let row = 0; row < rows; row++) {
      if (row === own) continue;
      const similarity = product(values, own * width, row * width, width) / ((norms[own] as number) * (norms[row] as number));
      let place = nearest.length;
      while (place > 0 && (nearest[place - 1] as Neighbour).similarity < similarity) place--;
      if (place === count) continue;
      nearest.splice(place, 0, { row, similarity });
      nearest.length = Math.min(nearest.length, count);
    }
    return nearest;
  });
}

function product(values: Float32Array, a: number, b: number, width: number): number {
  let sum = 0;
  for (let k = 0; k < width; k++) sum += (values[a + k] as number) * (values[b + k] as number);
  return sum;
}
