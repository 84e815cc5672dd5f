import { smallestProbability } from "./metrics.ts";

/** Search range: outside it a network is broken, not badly calibrated. */
const lowest = 0.25;
const highest = 4;
const goldenRatio = (Math.sqrt(5) - 1) / 2;

/** softmax(logits / temperature), row by row: [count,K]. */
export function softenedProbabilities(logits: Float32Array, classes: number, temperature: number): Float32Array {
  const result = new Float32Array(logits.length);
  const powers = new Float64Array(classes);
  for (let start = 0; start < logits.length; start += classes) {
    const total = raise(logits, start, temperature, powers);
    for (let k = 0; k < classes; k++) result[start + k] = (powers[k] as number) / total;
  }
  return result;
}

/** Powers of the row that begins at `start`, the largest 1, into `powers` [K]; returns their sum. */
function raise(logits: Float32Array, start: number, temperature: number, powers: Float64Array): number {
  let top = -Infinity;
  for (let k = 0; k < powers.length; k++) top = Math.max(top, logits[start + k] as number);
  let total = 0;
  for (let k = 0; k < powers.length; k++) {
    const power = Math.exp(((logits[start + k] as number) - top) / temperature);
    powers[k] = power;
    total += power;
  }
  return total;
}

/**
 * The temperature at which held-out answers have the lowest mean negative log-likelihood, by golden-section search (the
 * loss has one minimum). Label smoothing and overfitting bend confidences; one number straightens them without changing
 * any answer. Guo et al. 2017, arXiv:1706.04599. Where no answer is wrong the loss falls with the temperature without end,
 * and nothing tells how sure is too sure: it is not taken below 1 then.
 */
export function fitTemperature(logits: Float32Array, truth: ArrayLike<number>, classes: number): number {
  const powers = new Float64Array(classes);
  const loss = (temperature: number): number => {
    let sum = 0;
    for (let row = 0; row < truth.length; row++) {
      const total = raise(logits, row * classes, temperature, powers);
      // In 32 bits, as the model gives it.
      const probability = Math.fround((powers[truth[row] as number] as number) / total);
      sum -= Math.log(Math.max(smallestProbability, probability));
    }
    return sum / truth.length;
  };
  const isRight = (row: number): boolean => {
    const own = logits[row * classes + (truth[row] as number)] as number;
    return logits.subarray(row * classes, (row + 1) * classes).every((value) => value <= own);
  };
  const allRight = Array.from(truth).every((_, row) => isRight(row));
  let [low, high] = [allRight ? 1 : lowest, highest];
  while (high - low > 1e-4) {
    const left = high - goldenRatio * (high - low);
    const right = low + goldenRatio * (high - low);
    if (loss(left) <= loss(right)) high = right;
    else low = left;
  }
  return Number(((low + high) / 2).toFixed(4));
}
