/** A class that was mistaken for another one. Classes are indices of the labels. */
export interface Confusion {
  readonly truth: number;
  readonly predicted: number;
  readonly count: number;
  /** Rows of the true class. */
  readonly of: number;
}

/** The pairs of classes that were confused most often, of equally many those with the larger share of the true class. `confusion` is [true][predicted]. */
export function worstConfusions(confusion: readonly (readonly number[])[], most: number): Confusion[] {
  const worst: Confusion[] = [];
  const isWorse = (a: Confusion, b: Confusion): boolean => a.count > b.count || (a.count === b.count && a.of < b.of);
  for (const [truth, row] of confusion.entries()) {
    const of = row.reduce((sum, n) => sum + n, 0);
    for (const [predicted, count] of row.entries()) {
      if (predicted === truth || count === 0) continue;
      const found = { truth, predicted, count, of };
      if (worst.length === most && !isWorse(found, worst[most - 1] as Confusion)) continue;
      let place = worst.length;
      while (place > 0 && isWorse(found, worst[place - 1] as Confusion)) place--;
      worst.splice(place, 0, found);
      worst.length = Math.min(worst.length, most);
    }
  }
  return worst;
}
