import { firstOf, percent } from "../text.ts";
import type { Metrics } from "./metrics.ts";

/** A reason not to trust a result, and what to do about it. */
export interface Caution {
  readonly text: string;
  readonly next: string;
}

export interface CautionInput {
  /** What the figures are of, such as "validation". */
  readonly split: string;
  readonly metrics: Metrics;
  /** The epoch whose weights were taken, of how many; without epochs undefined. */
  readonly epoch?: { readonly chosen: number; readonly trained: number } | undefined;
}

/** Fewer pictures than this make an accuracy that one or two of them change by percents. */
const fewPictures = 30;
/** A class with less than this share of what it would have if all were equal says nothing about itself. */
const oneSided = 0.2;
const mostNamed = 5;

/** What a person should know before believing these figures; nothing where all is well. */
export function findCautions({ split, metrics, epoch }: CautionInput): Caution[] {
  const { count, accuracy, accuracyInterval, perClass } = metrics;
  const cautions: Caution[] = [];
  if (count < fewPictures) {
    const [low, high] = accuracyInterval;
    cautions.push({
      text: `Only ${count} ${split} ${count === 1 ? "picture" : "pictures"}: with so few, the true accuracy may be anywhere from ${percent(low)} to ${percent(high)}.`,
      next: "Add pictures of every class, or give the split a larger share in prepare.split.",
    });
  }
  const fewest = (oneSided * count) / perClass.length;
  const rare = perClass.filter(({ support }) => support < fewest);
  if (rare.length > 0) {
    cautions.push({
      text: `The ${split} pictures are one-sided: ${firstOf(
        rare.map(({ label, support }) => `${support} of ${label}`),
        mostNamed,
      )}, of ${count} in all.`,
      next: "Add pictures of these classes: the accuracy says little about them.",
    });
  }
  const missed = perClass.filter(({ support, recall }) => support > 0 && recall === 0);
  if (missed.length > 0) {
    cautions.push({
      text: `No ${split} picture of ${firstOf(
        missed.map(({ label }) => label),
        mostNamed,
      )} was recognised (recall 0).`,
      next: "Check the labels of these pictures, and add more of them.",
    });
  }
  const largest = Math.max(...perClass.map(({ support }) => support)) / count;
  if (accuracy <= largest) {
    cautions.push({
      text: `The accuracy of ${percent(accuracy)} is no better than always answering the largest class, which would give ${percent(largest)}.`,
      next: "Do not use this model. Check the labels, train longer, or start from a backbone (train.backbone in params.yaml).",
    });
  }
  if (epoch !== undefined && epoch.trained > 1 && epoch.chosen === 1) {
    cautions.push({
      text: `The first of ${epoch.trained} epochs was the best: the model did not improve after it.`,
      next: "Lower train.learningRate. Without a backbone, `serval train --find-lr` suggests one.",
    });
  }
  return cautions;
}

/** As lines of a terminal: each caution, and the next step below it. */
export function describeCautions(cautions: readonly Caution[]): string[] {
  return cautions.flatMap(({ text, next }) => [`WARNING  ${text}`, `         ${next}`]);
}
