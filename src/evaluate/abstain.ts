import { wilsonInterval } from "../statistics/wilson-interval.ts";

/** What the answers that a model gives above its threshold are to reach: the lower end of the 95 % interval of their accuracy. */
export const abstainTarget = 0.99;

/**
 * The smallest confidence threshold at which the rows that are still answered (confidence >= threshold) are right in at least
 * `target` of all cases, by the lower end of the 95 % Wilson interval: 0 where all of them are without abstaining, null where no
 * threshold can be shown to do. Choose it on validation rows: on test rows it would tune the model to the test split.
 */
export function chooseAbstainBelow(
  confidence: ArrayLike<number>,
  correct: ArrayLike<boolean>,
  target: number = abstainTarget,
): number | null {
  const order = Uint32Array.from({ length: confidence.length }, (_, i) => i);
  order.sort((a, b) => (confidence[b] as number) - (confidence[a] as number));
  let best: number | null = null;
  let hits = 0;
  for (let i = 0; i < order.length; i++) {
    if (correct[order[i] as number]) hits++;
    const value = confidence[order[i] as number] as number;
    const answered = i + 1;
    // A threshold cannot part rows of the same confidence.
    if (answered < order.length && confidence[order[answered] as number] === value) continue;
    if (wilsonInterval(hits, answered)[0] >= target) best = answered === order.length ? 0 : value;
  }
  return best;
}

/** How many answers it takes to show that they reach the target, when none of them is wrong. */
export function fewestAnswers(target: number = abstainTarget): number {
  let count = 1;
  while (wilsonInterval(count, count)[0] < target) count++;
  return count;
}
