/** Four numbers that say what a picture looks like, cheap enough to take for every request; used to notice drift. */
export interface ImageStatistics {
  /** Mean luma (Rec. 601), 0 black to 1 white. */
  readonly brightness: number;
  /** Standard deviation of luma, 0 flat to 0.5 half black, half white. */
  readonly contrast: number;
  /** Mean absolute 4-neighbour Laplacian of luma, 0 flat to 4 a checkerboard of pixels; photographs lie around 0.02 to 0.3. */
  readonly sharpness: number;
  /** Mean of (max - min) / max over the channels, 0 gray to 1 pure colour. */
  readonly saturation: number;
}

/** Statistics of uint8 RGB [height, width, 3]. */
export function imageStatistics(rgb: Uint8Array, width: number, height: number): ImageStatistics {
  const pixels = width * height;
  const luma = new Float32Array(pixels);
  let sum = 0;
  let squares = 0;
  let saturation = 0;
  for (let i = 0; i < pixels; i++) {
    const r = rgb[i * 3] ?? 0;
    const g = rgb[i * 3 + 1] ?? 0;
    const b = rgb[i * 3 + 2] ?? 0;
    const y = (0.299 * r + 0.587 * g + 0.114 * b) / 255;
    luma[i] = y;
    sum += y;
    squares += y * y;
    const max = Math.max(r, g, b);
    if (max > 0) saturation += (max - Math.min(r, g, b)) / max;
  }
  const brightness = sum / pixels;
  return {
    brightness,
    contrast: Math.sqrt(Math.max(0, squares / pixels - brightness * brightness)),
    sharpness: meanAbsoluteLaplacian(luma, width, height),
    saturation: saturation / pixels,
  };
}

/** Rows of a band: the fewest with a Laplacian. */
const bandRows = 3;

/** What a service looks at of each picture. */
const usualPixels = 8192;

/**
 * The same from evenly spaced bands of rows with about `mostPixels` pixels, so that it takes the same time for each picture; of
 * a smaller picture exactly.
 */
export function estimateStatistics(rgb: Uint8Array, width: number, height: number, mostPixels: number = usualPixels): ImageStatistics {
  const bands = Math.max(2, Math.floor(mostPixels / (bandRows * width)));
  if (width * height <= mostPixels || bands * bandRows >= height) return imageStatistics(rgb, width, height);
  const found = Array.from({ length: bands }, (_, i) => {
    const top = Math.round((i * (height - bandRows)) / (bands - 1));
    return imageStatistics(rgb.subarray(top * width * 3, (top + bandRows) * width * 3), width, bandRows);
  });
  const mean = (value: (band: ImageStatistics) => number): number => found.reduce((sum, band) => sum + value(band), 0) / bands;
  const brightness = mean((band) => band.brightness);
  const squares = mean((band) => band.contrast ** 2 + band.brightness ** 2);
  return {
    brightness,
    contrast: Math.sqrt(Math.max(0, squares - brightness ** 2)),
    sharpness: mean((band) => band.sharpness),
    saturation: mean((band) => band.saturation),
  };
}

function meanAbsoluteLaplacian(luma: Float32Array, width: number, height: number): number {
  if (width < 3 || height < 3) return 0;
  let sum = 0;
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      const i = y * width + x;
      const neighbours = (luma[i - 1] ?? 0) + (luma[i + 1] ?? 0) + (luma[i - width] ?? 0) + (luma[i + width] ?? 0);
      sum += Math.abs(4 * (luma[i] ?? 0) - neighbours);
    }
  }
  return sum / ((width - 2) * (height - 2));
}
