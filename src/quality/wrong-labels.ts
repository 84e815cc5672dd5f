/** What a classifier that did not see a picture makes of it, for each picture. */
export interface HeldOutAnswers {
  /** The class that each picture is labelled with, from 0 to classes - 1. */
  readonly labels: ArrayLike<number>;
  readonly classes: number;
  /** [pictures, classes] */
  readonly probabilities: Float32Array;
}

/** A picture whose label is probably wrong. */
export interface SuspectLabel {
  readonly row: number;
  readonly label: number;
  /** The likeliest class. */
  readonly likelier: number;
  /** Probability of the label: the lower, the more likely it is wrong. */
  readonly confidence: number;
  readonly likelierConfidence: number;
}

/** Rounding must not lift a picture over the threshold of a class whose pictures are all equally likely. */
const tolerance = 1e-6;

/** The probability of each picture's own label ("self-confidence"). */
export function confidences({ labels, classes, probabilities }: HeldOutAnswers): Float64Array {
  return Float64Array.from({ length: labels.length }, (_, row) => probabilities[row * classes + (labels[row] as number)] as number);
}

/**
 * How many pictures with label i are estimated to be of class j, [classes, classes]: the confident joint of Northcutt, Jiang and Chuang 2021
 * (doi:10.1613/jair.1.12125). A picture counts for the likeliest class whose probability is at least what pictures with that label have on average; the
 * counts of a label are then scaled to the number of its pictures.
 */
export function estimateJoint(answers: HeldOutAnswers): Float64Array {
  const { labels, classes, probabilities } = answers;
  const counts = new Float64Array(classes);
  const thresholds = new Float64Array(classes);
  for (const [row, confidence] of confidences(answers).entries()) {
    const label = labels[row] as number;
    counts[label] = (counts[label] as number) + 1;
    thresholds[label] = (thresholds[label] as number) + confidence;
  }
  for (let k = 0; k < classes; k++) thresholds[k] = (thresholds[k] as number) / Math.max(1, counts[k] as number) - tolerance;
  const joint = new Float64Array(classes * classes);
  for (let row = 0; row < labels.length; row++) {
    const own = probabilities.subarray(row * classes, (row + 1) * classes);
    const confident = likeliest(own, (k) => (own[k] as number) >= (thresholds[k] as number) && (counts[k] as number) > 0);
    if (confident === undefined) continue;
    const at = (labels[row] as number) * classes + confident;
    joint[at] = (joint[at] as number) + 1;
  }
  for (let label = 0; label < classes; label++) {
    const line = joint.subarray(label * classes, (label + 1) * classes);
    const sum = line.reduce((total, count) => total + count, 0);
    // A label without a confident picture says nothing about its errors.
    if (sum === 0) line[label] = counts[label] as number;
    else for (let k = 0; k < classes; k++) line[k] = ((line[k] as number) * (counts[label] as number)) / sum;
  }
  return joint;
}

/**
 * The pictures whose labels are probably wrong, most suspect first. Their number comes from the data alone: of the pictures labelled i, as many as
 * the joint estimates to be of class j, those with the widest margin between the probabilities of j and i ("prune by noise rate", Northcutt et al. 2021).
 */
export function findWrongLabels(answers: HeldOutAnswers): SuspectLabel[] {
  const { labels, classes, probabilities } = answers;
  const joint = estimateJoint(answers);
  const pairs = new Map<number, SuspectLabel[]>();
  for (let row = 0; row < labels.length; row++) {
    const own = probabilities.subarray(row * classes, (row + 1) * classes);
    const label = labels[row] as number;
    const likelier = likeliest(own, () => true) as number;
    if (likelier === label) continue;
    const pair = label * classes + likelier;
    const suspect = { row, label, likelier, confidence: own[label] as number, likelierConfidence: own[likelier] as number };
    const known = pairs.get(pair);
    if (known === undefined) pairs.set(pair, [suspect]);
    else known.push(suspect);
  }
  const margin = ({ confidence, likelierConfidence }: SuspectLabel): number => likelierConfidence - confidence;
  return [...pairs]
    .flatMap(([pair, suspects]) =>
      suspects.sort((a, b) => margin(b) - margin(a) || a.row - b.row).slice(0, Math.round(joint[pair] as number)),
    )
    .sort((a, b) => a.confidence - b.confidence || a.row - b.row);
}

function likeliest(probabilities: Float32Array, isAllowed: (k: number) => boolean): number | undefined {
  let best: number | undefined;
  for (let k = 0; k < probabilities.length; k++) {
    if (isAllowed(k) && (best === undefined || (probabilities[k] as number) > (probabilities[best] as number))) best = k;
  }
  return best;
}
