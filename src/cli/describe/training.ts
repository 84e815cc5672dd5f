import { percent } from "../../text.ts";
import { formatDuration } from "../../workflows/format-duration.ts";
import type { RateReport } from "../../workflows/model/find-rate.ts";
import type { TrainingTracking } from "../../workflows/model/track-training.ts";
import type { TrainReport } from "../../workflows/model/train-model.ts";
import { describeCautions } from "../../evaluate/cautions.ts";

/** What `serval train` prints. */
export function describeTraining(report: TrainReport): string {
  return [
    ...(report.strategy === "head" ? describeHead(report) : describeEpochs(report)),
    ...describeTracking(report.run, report.tracking),
    ...describeCautions(report.cautions),
    "Next: serval evaluate, serval predict IMAGE; then serval models release, and serval serve takes that",
  ].join("\n");
}

function describeHead({ best, seconds }: TrainReport): string[] {
  return [`Trained in ${formatDuration(seconds)}.`, `  model  ${figures(best)}  ${best.dir}`];
}

function describeEpochs({ best, final, averages, seconds, imagesPerSecond, lowering, threads, waitShare }: TrainReport): string[] {
  return [
    `Trained in ${formatDuration(seconds)}, ${Math.round(imagesPerSecond)} images/s (${lowering}, ${threads} threads; ${percent(waitShare)} of the time spent waiting for batches).`,
    `  best   epoch ${best.epoch}${describeShare(averages?.chosen.share)}, ${figures(best)}  ${best.dir}`,
    `  final  epoch ${final.epoch}, ${figures(final)}  ${final.dir}`,
  ];
}

/** How much of the best model's weights is fine-tuned. */
function describeShare(share: number = 1): string {
  if (share === 0) return " (no average with fine-tuned weights was better than the classifier alone, so this is the classifier alone)";
  return share === 1 ? "" : ` (${percent(share, 0)} fine-tuned weights, averaged with those before)`;
}

function figures({ accuracy, loss }: TrainReport["best"]): string {
  return `validation accuracy ${percent(accuracy)}, loss ${loss.toFixed(3)}`;
}

/** The lines about tracking below a training's result. */
function describeTracking(run: string, tracking: TrainingTracking | null): string[] {
  if (tracking === null) return [];
  if (tracking.delivered) {
    const { loggingShare } = tracking;
    const share = loggingShare === null ? "" : ` (in ${percent(loggingShare, 2)} of the time of the training steps)`;
    const store = /^https?:/.test(tracking.server) ? "" : `${tracking.server}, which \`serval track\` shows at `;
    return [`  logged to ${store}${tracking.page ?? tracking.server}${share}`];
  }
  return [`  not all of run ${run} has reached ${tracking.server}: it is kept, and the next \`serval train\` sends it`];
}

/** What `serval train --find-lr` prints. */
export function describeRate(report: RateReport): string {
  const { suggestion, lowest, steepest, steps, chart, diverged } = report;
  const reach = diverged ? `stopped after ${steps} steps, when the loss rose` : `${steps} steps`;
  if (suggestion === null)
    return `No suggestion: the loss did not fall clearly at any rate (${reach}). Look at ${chart}; more images or a larger train.batchSize make it smoother.`;
  return [
    `Suggested learning rate: ${suggestion}, a tenth of the one at which the loss was lowest (${short(lowest)}; it fell fastest at ${short(steepest)}; ${reach}).`,
    `  ${chart}`,
    `Next: serval train --set train.learningRate=${suggestion}`,
  ].join("\n");
}

function short(rate: number): number {
  return Number(rate.toPrecision(2));
}
