import { ServalError } from "../../errors/serval-error.ts";
import { percent, thousands } from "../../text.ts";
import type { AverageTried, InitialWeights, TrainEvent, TrainJob, TrainOutcome } from "../../train/train-job.ts";
import { trainInThread } from "../../train/training-thread.ts";
import type { Progress, Reporter } from "../reporter.ts";
import type { TrainingTracker } from "./track-training.ts";

/** What watches a training, and may stop it. */
export interface TrainingWatch {
  /** Name of the run. */
  readonly run: string;
  readonly tracker: TrainingTracker | undefined;
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
}

/** Trains a network in a thread, and tells how far it is. */
export async function trainNetwork(job: TrainJob, { run, tracker, reporter, signal }: TrainingWatch): Promise<TrainOutcome> {
  let progress: Progress | undefined;
  let firstStep = 0;
  let total = 0;
  const onEvent = (event: TrainEvent): void => {
    switch (event.type) {
      case "start":
        reporter.line(
          `Run ${run}: ${thousands(event.parameters)} parameters, ${event.epochs} epochs, ${event.lowering}, ${event.threads} threads`,
        );
        if (job.backbone) reporter.line(`Fine-tuning all layers of ${job.backbone.name}.`);
        else if (job.init) reporter.line(describeInit(job.init, Math.min(job.config.freezeEpochs, job.config.epochs)));
        [firstStep, total] = [event.stepsDone, event.steps];
        if (firstStep > 0) reporter.line(`Continuing after step ${firstStep} of ${total}.`);
        progress = reporter.progress("Training", total - firstStep);
        break;
      case "step":
        tracker?.logStep(event);
        progress?.update(
          event.stepsDone - firstStep,
          `epoch ${event.epoch}/${job.config.epochs}  loss ${event.loss.toFixed(3)}  accuracy ${percent(event.accuracy)}  ${Math.round(event.imagesPerSecond)} images/s`,
        );
        break;
      case "epoch": {
        const { result, best } = event;
        tracker?.logEpoch(result);
        progress?.end(
          `epoch ${result.epoch}/${job.config.epochs}  loss ${result.trainLoss.toFixed(3)}  validation: loss ${result.valLoss.toFixed(3)}, accuracy ${percent(result.valAccuracy)}${best ? " (best so far)" : ""}  ${Math.round(result.imagesPerSecond)} images/s`,
        );
        break;
      }
      case "average":
        reporter.line(describeAverage(event.tried));
        break;
      case "note":
        progress?.end();
        reporter.warn(event.text);
        break;
    }
  };
  try {
    return await trainInThread(job, onEvent, signal);
  } catch (error) {
    if (!(error instanceof ServalError) || error.code !== "E_DISK_FULL") throw error;
    // The same command again would begin a new run.
    throw new ServalError(error.code, error.message, {
      cause: error,
      hint: `Free some space, then continue with \`serval train --resume ${run}\`.`,
    });
  } finally {
    progress?.end();
  }
}

function describeAverage({ share, accuracy, loss }: AverageTried): string {
  const model = share === 0 ? "before fine-tuning" : share === 1 ? "fine-tuned" : `average of both, ${percent(share, 0)} fine-tuned`;
  return `Weights ${model}: validation loss ${loss.toFixed(3)}, accuracy ${percent(accuracy, 2)}`;
}

function describeInit({ name, digest, keepsHead }: InitialWeights, freezeEpochs: number): string {
  const head = keepsHead ? "with its classifier" : "with a new classifier";
  const frozen =
    freezeEpochs > 0 ? `; only the classifier learns in the first ${freezeEpochs === 1 ? "epoch" : `${freezeEpochs} epochs`}` : "";
  return `Fine-tuning ${name} version ${digest.slice(0, 12)}, ${head}${frozen}.`;
}
