export interface ScheduleOptions {
  /** The highest learning rate, reached after the warm-up. */
  readonly learningRate: number;
  readonly warmupSteps: number;
  readonly totalSteps: number;
}

/**
 * Learning rate of step `step` (from 0): rises linearly over the warm-up, then falls along half a cosine to zero.
 * Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts.
 */
export function warmupCosine(step: number, { learningRate, warmupSteps, totalSteps }: ScheduleOptions): number {
  if (step < warmupSteps) return (learningRate * (step + 1)) / warmupSteps;
  const progress = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
  return (learningRate * (1 + Math.cos(Math.PI * progress))) / 2;
}
