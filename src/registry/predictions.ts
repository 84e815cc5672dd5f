import { readFile } from "node:fs/promises";
import { ServalError } from "../errors/serval-error.ts";

/** What a model said about one image whose label is known: the part of a line of predictions.jsonl that a comparison needs. */
export interface Prediction {
  readonly sha256: string;
  readonly label: string;
  readonly predicted: string;
}

/** How two models did on the same images. */
export interface PairedCounts {
  readonly images: number;
  readonly bothRight: number;
  readonly onlyChampionRight: number;
  readonly onlyChallengerRight: number;
  readonly bothWrong: number;
}

/** Reads the predictions.jsonl of an evaluation. Throws E_PREDICTIONS with the line that is not one. */
export async function readPredictions(path: string): Promise<Prediction[]> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new ServalError("E_PREDICTIONS", `${path} cannot be read: ${(error as Error).message}.`, { cause: error });
  });
  return text
    .trimEnd()
    .split("\n")
    .map((line, i) => parsePrediction(line, `${path}, line ${i + 1}`));
}

function parsePrediction(line: string, where: string): Prediction {
  try {
    const value = JSON.parse(line) as Partial<Record<keyof Prediction, unknown>>;
    const { sha256, label, predicted } = value;
    if (typeof sha256 === "string" && typeof label === "string" && typeof predicted === "string") return { sha256, label, predicted };
  } catch {
    // Said below, as for JSON that is something else.
  }
  throw new ServalError(
    "E_PREDICTIONS",
    `${where}: expected sha256, label and predicted as JSON, got ${JSON.stringify(line.slice(0, 80))}.`,
  );
}

/**
 * Pairs the predictions of two models by image. Throws E_PREDICTIONS where they are not about the same images with the
 * same labels: a difference in accuracy would then say something about the images.
 */
export function pairPredictions(champion: readonly Prediction[], challenger: readonly Prediction[]): PairedCounts {
  // The same picture may be in a split more than once: each row is one trial, in the order of the file.
  const waiting = new Map<string, Prediction[]>();
  for (const row of champion) waiting.set(row.sha256, [...(waiting.get(row.sha256) ?? []), row]);
  const counts = { images: 0, bothRight: 0, onlyChampionRight: 0, onlyChallengerRight: 0, bothWrong: 0 };
  for (const row of challenger) {
    const other = waiting.get(row.sha256)?.shift();
    if (other === undefined) throw differ(`the image ${row.sha256.slice(0, 12)} is only among the challenger's`);
    if (other.label !== row.label)
      throw differ(`the image ${row.sha256.slice(0, 12)} is labelled "${other.label}" here and "${row.label}" there`);
    const [championRight, challengerRight] = [other.predicted === row.label, row.predicted === row.label];
    counts.images++;
    if (championRight && challengerRight) counts.bothRight++;
    else if (championRight) counts.onlyChampionRight++;
    else if (challengerRight) counts.onlyChallengerRight++;
    else counts.bothWrong++;
  }
  if (champion.length > challenger.length) {
    throw differ(
      `the champion has ${champion.length.toLocaleString("en-US")} and the challenger ${challenger.length.toLocaleString("en-US")}`,
    );
  }
  return counts;
}

function differ(how: string): ServalError {
  return new ServalError("E_PREDICTIONS", `The predictions of the two models are not about the same images: ${how}.`);
}
