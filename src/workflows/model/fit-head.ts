import { onnxruntime } from "../../runtime/onnxruntime.ts";
import { percent, thousands } from "../../text.ts";
import { trainHead, type HeadEvent, type HeadJob, type TrainedHead } from "../../train/head/train-head.ts";
import type { Progress } from "../reporter.ts";
import type { TrainingWatch } from "./train-network.ts";

const splitNames = { train: "training", val: "validation" } as const;

/** Fits a classifier on the features of a backbone, and tells how far it is. */
export async function fitHead(job: HeadJob, { run, reporter, signal }: TrainingWatch): Promise<TrainedHead> {
  const { record, network } = job.backbone;
  const { train, val } = job.shards.splits;
  reporter.line(
    `Run ${run}: a classifier on ${thousands(network.channels)} features of ${record.name}, ${train.count} training and ${val.count} validation images`,
  );
  let shown: { readonly label: string; readonly progress: Progress } | undefined;
  const show = (label: string, total: number, done: number, note: string, unit?: string): void => {
    if (shown?.label !== label) {
      shown?.progress.end();
      shown = { label, progress: reporter.progress(label, total, unit) };
    }
    shown.progress.update(done, note);
  };
  const onEvent = (event: HeadEvent): void => {
    if (event.type === "features") show(`Features (${splitNames[event.split]})`, event.count, event.rows, "", "images");
    else show("Fitting", 100, Math.round(100 * event.share), event.note);
  };
  try {
    const trained = await trainHead(onnxruntime, job, { onEvent, shouldStop: () => signal.aborted });
    const { result, head } = trained;
    shown?.progress.end(
      `Fitted in ${head.iterations} iterations, penalty ${head.penalty}  loss ${result.trainLoss.toFixed(3)}  validation: loss ${result.valLoss.toFixed(3)}, accuracy ${percent(result.valAccuracy)}`,
    );
    shown = undefined;
    return trained;
  } finally {
    shown?.progress.end();
  }
}
