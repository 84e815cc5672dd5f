import type { PredictedImage } from "../../workflows/model/predict-images.ts";

const barWidth = 20;
/** A name may be longer; the columns of the others do not follow it. */
const mostPadding = 80;

/** The columns of what `serval predict` prints: lines come one by one, so the widths are those of what is known so far. */
export class PredictionLines {
  #fileWidth: number;
  #labelWidth = 0;

  /** `files` are the names of the command line. */
  constructor(files: readonly string[]) {
    this.#fileWidth = Math.max(0, ...files.map((file) => file.length).filter((length) => length <= mostPadding));
  }

  line(answer: PredictedImage): string {
    if (answer.file.length <= mostPadding) this.#fileWidth = Math.max(this.#fileWidth, answer.file.length);
    const file = answer.file.padEnd(this.#fileWidth);
    if ("error" in answer) return `${file}  ${answer.error.code}: ${answer.error.message}`;
    if (this.#labelWidth === 0) {
      for (const label of Object.keys(answer.probabilities))
        this.#labelWidth = Math.max(this.#labelWidth, Math.min(label.length, mostPadding));
    }
    const filled = Math.round(answer.confidence * barWidth);
    const bar = "█".repeat(filled) + "░".repeat(barWidth - filled);
    return `${file}  ${answer.label.padEnd(this.#labelWidth)}  ${bar} ${(100 * answer.confidence).toFixed(1).padStart(5)} %`;
  }
}

/** The first line of `serval predict --csv`. */
export const predictionCsvHead = "file,label,confidence,error";

/** One line, as RFC 4180 has it. */
export function predictionCsvLine(answer: PredictedImage): string {
  const cells =
    "error" in answer
      ? [answer.file, "", "", `${answer.error.code}: ${answer.error.message}`]
      : [answer.file, answer.label, String(answer.confidence), ""];
  return cells.map((cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",");
}
