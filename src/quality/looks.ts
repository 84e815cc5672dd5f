/** What can be wrong with a picture whatever is on it. */
export const defects = ["dark", "bright", "flat", "blurred"] as const;
export type Defect = (typeof defects)[number];

export interface Look {
  /** Of the luma, 0 to 1: 95 % of the pixels are darker than `high`, 5 % darker than `low`. */
  readonly high: number;
  readonly low: number;
  /** Standard deviation of the luma, 0 to 0.5. */
  readonly contrast: number;
  /** Decimal logarithm of the energy of the Laplacian, as a share of the variance: falls with blur, and not with contrast. */
  readonly sharpness: number;
}

const darkest = 0.3;
const brightest = 0.7;
const flattest = 0.05;
/**
 * Sharpness depends on what the pictures of a set are, so blur is measured against the set: this many standard deviations below its median. The deviation is
 * that of the softer half, from the distance between median and lower quartile, which a tenth of blurred pictures hardly moves.
 */
const deviationsOfBlur = 2.5;
/** In a set of equally sharp pictures each small difference would count: blur is at least this far below the median. */
const smallestFall = 0.5;
/** Distance between median and lower quartile of a normal distribution, in standard deviations. */
const quartileDeviations = 0.6745;
const faintest = 1e-6;

/** Measures a picture, uint8 RGB [height, width, 3], at least 3x3 pixels. */
export function measureLook(rgb: Uint8Array, width: number, height: number): Look {
  const count = width * height;
  const luma = new Float32Array(count);
  const histogram = new Uint32Array(256);
  let [sum, squares] = [0, 0];
  for (let k = 0; k < count; k++) {
    const value = 0.299 * (rgb[3 * k] as number) + 0.587 * (rgb[3 * k + 1] as number) + 0.114 * (rgb[3 * k + 2] as number);
    luma[k] = value;
    const bin = Math.min(255, Math.round(value));
    histogram[bin] = (histogram[bin] as number) + 1;
    sum += value;
    squares += value * value;
  }
  const variance = Math.max(0, squares / count - (sum / count) ** 2);
  const energy = laplacianEnergy(luma, width, height);
  return {
    high: percentile(histogram, 0.95 * count) / 255,
    low: percentile(histogram, 0.05 * count) / 255,
    contrast: Math.sqrt(variance) / 255,
    sharpness: Math.log10(faintest + energy / Math.max(1, variance)),
  };
}

/** What is wrong with each picture of a set; an empty list for most. */
export function findDefects(looks: readonly Look[]): Defect[][] {
  const isClear = ({ contrast, high }: Look): boolean => contrast >= flattest && high >= darkest;
  const known = looks.flatMap((look) => (isClear(look) ? [look.sharpness] : [])).sort((a, b) => a - b);
  const middle = known[Math.floor(known.length / 2)] ?? 0;
  const deviation = (middle - (known[Math.floor(known.length / 4)] ?? 0)) / quartileDeviations;
  const limit = middle - Math.max(smallestFall, deviationsOfBlur * deviation);
  return looks.map((look) => {
    const found: Defect[] = [];
    if (look.high < darkest) found.push("dark");
    if (look.low > brightest) found.push("bright");
    if (look.contrast < flattest) found.push("flat");
    if (isClear(look) && look.sharpness < limit) found.push("blurred");
    return found;
  });
}

/** Mean square of the Laplacian of the inner pixels. */
function laplacianEnergy(luma: Float32Array, width: number, height: number): number {
  let sum = 0;
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      const at = y * width + x;
      const around = (luma[at - 1] as number) + (luma[at + 1] as number) + (luma[at - width] as number) + (luma[at + width] as number);
      sum += (around - 4 * (luma[at] as number)) ** 2;
    }
  }
  return sum / Math.max(1, (width - 2) * (height - 2));
}

function percentile(histogram: Uint32Array, rank: number): number {
  let below = 0;
  for (let value = 0; value < histogram.length; value++) {
    below += histogram[value] as number;
    if (below >= rank) return value;
  }
  return histogram.length - 1;
}
