/**
 * p values of several tests, adjusted so that the chance of one or more false findings among all of them is at most the level that an
 * adjusted value is compared with (Holm 1979). In the order given.
 */
export function holmAdjusted(pValues: readonly number[]): number[] {
  const order = pValues.map((_, i) => i).toSorted((a, b) => (pValues[a] as number) - (pValues[b] as number));
  const adjusted = Array.from(pValues, () => 1);
  let largest = 0;
  for (const [rank, i] of order.entries()) {
    largest = Math.max(largest, Math.min(1, (pValues.length - rank) * (pValues[i] as number)));
    adjusted[i] = largest;
  }
  return adjusted;
}
