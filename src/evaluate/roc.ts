/** One corner of a ROC curve: everything with a score of `threshold` or more is called positive. */
export interface RocPoint {
  readonly falsePositiveRate: number;
  readonly truePositiveRate: number;
  /** Infinity at the first point, where nothing is called positive. */
  readonly threshold: number;
}

/** Row indices by falling score. Sorting typed indices by a typed array keeps 100,000 rows well under a second. */
function byFallingScore(scores: ArrayLike<number>): Uint32Array {
  return Uint32Array.from({ length: scores.length }, (_, i) => i).sort((a, b) => (scores[b] as number) - (scores[a] as number));
}

/**
 * Exact area under the ROC curve by the rank statistic (Mann-Whitney U; Hanley & McNeil 1982): the chance that a random
 * positive has a higher score than a random negative, where a tie counts one half. `null` where there are no positives
 * or no negatives, since the area is not defined then.
 */
export function rocAuc(scores: ArrayLike<number>, positive: ArrayLike<boolean>): number | null {
  const order = byFallingScore(scores);
  let positives = 0;
  let negatives = 0;
  // Twice the number of (positive, negative) pairs in the right order: an integer, so the sum is exact.
  let doubledWins = 0;
  for (let start = 0; start < order.length;) {
    const score = scores[order[start] as number] as number;
    let tiedPositives = 0;
    let end = start;
    for (; end < order.length && scores[order[end] as number] === score; end++) if (positive[order[end] as number]) tiedPositives++;
    const tiedNegatives = end - start - tiedPositives;
    doubledWins += tiedNegatives * (2 * positives + tiedPositives);
    positives += tiedPositives;
    negatives += tiedNegatives;
    start = end;
  }
  return positives === 0 || negatives === 0 ? null : doubledWins / (2 * positives * negatives);
}

/**
 * ROC curve from (0, 0) to (1, 1), one point per distinct score; points on a straight line between their neighbours are
 * left out, which changes neither the picture nor the area. Empty where there are no positives or no negatives.
 */
export function rocCurve(scores: ArrayLike<number>, positive: ArrayLike<boolean>): RocPoint[] {
  const order = byFallingScore(scores);
  const corners: { fp: number; tp: number; threshold: number }[] = [{ fp: 0, tp: 0, threshold: Number.POSITIVE_INFINITY }];
  let tp = 0;
  let fp = 0;
  for (let i = 0; i < order.length; i++) {
    const row = order[i] as number;
    if (positive[row]) tp++;
    else fp++;
    const score = scores[row] as number;
    if (i + 1 < order.length && scores[order[i + 1] as number] === score) continue;
    while (corners.length >= 2) {
      const [a, b] = corners.slice(-2) as [(typeof corners)[number], (typeof corners)[number]];
      if ((b.fp - a.fp) * (tp - b.tp) !== (fp - b.fp) * (b.tp - a.tp)) break;
      corners.pop();
    }
    corners.push({ fp, tp, threshold: score });
  }
  if (tp === 0 || fp === 0) return [];
  return corners.map((corner) => ({
    falsePositiveRate: corner.fp / fp,
    truePositiveRate: corner.tp / tp,
    threshold: corner.threshold,
  }));
}
