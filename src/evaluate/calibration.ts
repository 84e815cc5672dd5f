import { Random } from "../random.ts";

/** One bin of a reliability diagram. */
export interface CalibrationBin {
  /** The bin holds confidences in (lower, upper]; the first one holds 0 as well. */
  readonly lower: number;
  readonly upper: number;
  readonly count: number;
  /** Mean confidence of the bin's rows; null where it is empty. */
  readonly confidence: number | null;
  /** Share of the bin's rows that are right; null where it is empty. */
  readonly accuracy: number | null;
}

const calibrationBinCount = 15;

/**
 * Reliability diagram of the top label: equal-width bins over the confidence, as in Guo et al. 2017, "On Calibration of
 * Modern Neural Networks". `confidence` is the largest probability of each row, `correct` whether that label is true.
 */
export function calibrationCurve(
  confidence: ArrayLike<number>,
  correct: ArrayLike<boolean>,
  binCount: number = calibrationBinCount,
): CalibrationBin[] {
  const counts = new Uint32Array(binCount);
  const hits = new Uint32Array(binCount);
  const sums = new Float64Array(binCount);
  for (let i = 0; i < confidence.length; i++) {
    const value = confidence[i] as number;
    const bin = binOf(value, binCount);
    counts[bin] = (counts[bin] as number) + 1;
    sums[bin] = (sums[bin] as number) + value;
    if (correct[i]) hits[bin] = (hits[bin] as number) + 1;
  }
  return Array.from(counts, (count, bin) => ({
    lower: bin / binCount,
    upper: (bin + 1) / binCount,
    count,
    confidence: count === 0 ? null : (sums[bin] as number) / count,
    accuracy: count === 0 ? null : (hits[bin] as number) / count,
  }));
}

/** Expected calibration error: the gap between accuracy and confidence of each bin, weighted by its rows; in [0, 1]. */
export function expectedCalibrationError(bins: readonly CalibrationBin[]): number {
  const total = bins.reduce((sum, bin) => sum + bin.count, 0);
  if (total === 0) return 0;
  return bins.reduce((sum, bin) => sum + (bin.count / total) * Math.abs((bin.accuracy ?? 0) - (bin.confidence ?? 0)), 0);
}

const resamples = 1000;

/**
 * 95 % percentile interval of the expected calibration error by the bootstrap (Efron 1979): 1,000 samples of as many rows,
 * drawn with replacement, the same at every call. A small error lies near the lower end or below it, because chance moves
 * each bin's gap away from 0 in every sample.
 */
export function calibrationErrorInterval(
  confidence: ArrayLike<number>,
  correct: ArrayLike<boolean>,
  binCount: number = calibrationBinCount,
): [low: number, high: number] {
  const count = confidence.length;
  if (count === 0) return [0, 1];
  const bins = Uint8Array.from({ length: count }, (_, i) => binOf(confidence[i] as number, binCount));
  const gaps = Float64Array.from({ length: count }, (_, i) => (confidence[i] as number) - (correct[i] ? 1 : 0));
  const random = new Random(0);
  const errors = Float64Array.from({ length: resamples }, () => {
    const sums = new Float64Array(binCount);
    for (let draw = 0; draw < count; draw++) {
      const i = random.below(count);
      const bin = bins[i] as number;
      sums[bin] = (sums[bin] as number) + (gaps[i] as number);
    }
    return sums.reduce((sum, gap) => sum + Math.abs(gap), 0) / count;
  }).sort();
  return [errors[Math.floor(0.025 * resamples)] as number, errors[Math.ceil(0.975 * resamples) - 1] as number];
}

function binOf(confidence: number, binCount: number): number {
  return Math.min(binCount - 1, Math.max(0, Math.ceil(confidence * binCount) - 1));
}
