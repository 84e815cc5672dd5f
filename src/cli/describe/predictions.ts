import { percent } from "../../text.ts";
import type { PredictedImage } from "../../workflows/model/predict-images.ts";

const barWidth = 20;

/** What `serval predict` prints. */
export function describePredictions(answers: readonly PredictedImage[]): string {
  const fileWidth = Math.max(...answers.map(({ file }) => file.length));
  const labelWidth = Math.max(0, ...answers.map((answer) => ("label" in answer ? answer.label.length : 0)));
  return answers
    .map((answer) => {
      const file = answer.file.padEnd(fileWidth);
      if ("error" in answer) return `${file}  ${answer.error.code}: ${answer.error.message}`;
      const filled = Math.round(answer.confidence * barWidth);
      const bar = "█".repeat(filled) + "░".repeat(barWidth - filled);
      return `${file}  ${answer.label.padEnd(labelWidth)}  ${bar} ${percent(answer.confidence).padStart(7)}`;
    })
    .join("\n");
}
