/** A row that the model got wrong, with what is needed to show it. */
export interface Mistake {
  readonly sha256: string;
  /** Class index. */
  readonly truth: number;
  readonly predicted: number;
  /** Of the predicted class. */
  readonly confidence: number;
  /** That the model gave to the true class. */
  readonly truthProbability: number;
  /** uint8 RGB [height, width, 3], as the model saw it. */
  readonly pixels: Uint8Array;
  readonly width: number;
  readonly height: number;
}

export interface MistakeCandidate {
  readonly sha256: string;
  readonly truth: number;
  /** [K] */
  readonly probabilities: Float32Array;
  readonly pixels: Uint8Array;
  readonly width: number;
  readonly height: number;
}

export interface MistakeList {
  /** Looks at a row and keeps it if it is among the worst mistakes so far. */
  offer(row: MistakeCandidate): void;
  /** Worst first: the least probability of the true class. */
  worst(): readonly Mistake[];
}

/** How many fit on one contact sheet. */
const mostMistakes = 24;

/** Keeps the worst mistakes with their pixels, and only those, so that a large data set needs no more memory. */
export function createMistakeList(size: number = mostMistakes): MistakeList {
  const kept: Mistake[] = [];
  return {
    offer({ probabilities, ...row }) {
      let predicted = 0;
      for (let k = 1; k < probabilities.length; k++) if ((probabilities[k] as number) > (probabilities[predicted] as number)) predicted = k;
      if (predicted === row.truth) return;
      const truthProbability = probabilities[row.truth] as number;
      let place = kept.length;
      while (place > 0 && (kept[place - 1] as Mistake).truthProbability > truthProbability) place--;
      if (place === size) return;
      kept.splice(place, 0, { ...row, predicted, confidence: probabilities[predicted] as number, truthProbability });
      kept.length = Math.min(kept.length, size);
    },
    worst: () => kept,
  };
}
