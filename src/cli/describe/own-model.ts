import { paramsFile, rawDir } from "../../paths.ts";
import type { OwnModelEvent } from "../../workflows/project/build-own-model.ts";
import { describeImport, describePrepare } from "./data.ts";
import { describeEvaluation } from "./evaluation.ts";
import { describeTraining } from "./training.ts";

/** What `serval up --data` prints of one step on the way from images to a model. */
export function describeOwnModel(event: OwnModelEvent): string {
  switch (event.type) {
    case "begin":
      return `${event.step === 1 ? "" : "\n"}[${event.step}/${event.steps}] ${event.what}`;
    case "settings":
      return event.created.length === 0 ? `${paramsFile} is there and stays as it is.` : `Wrote ${event.created.join(", ")}.`;
    case "import":
      return describeImport(event.report, rawDir);
    case "prepare":
      return describePrepare(event.report);
    case "train":
      return describeTraining(event.report);
    default:
      return describeEvaluation(event.report);
  }
}
