import type { Size } from "./preprocess.ts";

/** A part of a picture, in whole pixels. */
export interface Window {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

/** Linear map of colours: each output colour is three weights and an offset, in units of 0..255. */
export type ColourMap = Readonly<Record<"red" | "green" | "blue", readonly [number, number, number, number]>>;

/** Factors around 1: 0 takes a quality away, 2 doubles it. */
export interface ColourFactors {
  readonly brightness: number;
  readonly contrast: number;
  readonly saturation: number;
  /** White balance: one factor a colour. */
  readonly balance: readonly [number, number, number];
}

/** Share of each colour in what the eye takes for brightness (ITU-R BT.601). */
const luma = [0.299, 0.587, 0.114] as const;

/** Saturation, then contrast about `mean` (the picture's mean brightness, 0..255), then brightness and white balance. */
export function colourMap({ brightness, contrast, saturation, balance }: ColourFactors, mean: number): ColourMap {
  const row = (colour: 0 | 1 | 2): [number, number, number, number] => {
    const gain = brightness * balance[colour];
    const weight = (from: 0 | 1 | 2): number => gain * contrast * ((1 - saturation) * luma[from] + (from === colour ? saturation : 0));
    return [weight(0), weight(1), weight(2), gain * (1 - contrast) * mean];
  };
  return { red: row(0), green: row(1), blue: row(2) };
}

/** Mean brightness of a window, 0..255, from every fourth pixel of every fourth row. */
export function meanBrightness(picture: Uint8Array, { width }: Size, window: Window): number {
  let sum = 0;
  let count = 0;
  for (let y = window.top; y < window.top + window.height; y += 4)
    for (let x = window.left; x < window.left + window.width; x += 4) {
      const at = (y * width + x) * 3;
      sum += luma[0] * (picture[at] as number) + luma[1] * (picture[at + 1] as number) + luma[2] * (picture[at + 2] as number);
      count++;
    }
  return sum / count;
}

/** For each of `to` pixels: the first of the `from` pixels that it is made of, and their weights, `taps` each. */
interface Taps {
  readonly taps: number;
  readonly first: Int32Array;
  readonly weights: Float32Array;
}

/**
 * Bilinear where the picture grows, a triangle as wide as the reduction where it shrinks (as Pillow and sharp do); and at
 * least `blur` pixels of the picture to each side.
 */
function triangleTaps(from: number, to: number, blur: number): Taps {
  const ratio = from / to;
  const support = Math.max(1, ratio, blur);
  const taps = Math.min(from, Math.ceil(support) * 2 + 1);
  const first = new Int32Array(to);
  const weights = new Float32Array(to * taps);
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * ratio - 0.5;
    const start = Math.max(0, Math.min(from - taps, Math.ceil(centre - support)));
    first[i] = start;
    let sum = 0;
    for (let t = 0; t < taps; t++) sum += Math.max(0, 1 - Math.abs(start + t - centre) / support);
    for (let t = 0; t < taps; t++) weights[i * taps + t] = Math.max(0, 1 - Math.abs(start + t - centre) / support) / sum;
  }
  return { taps, first, weights };
}

/** Scratch memory of one caller, kept from picture to picture. */
export interface Resampler {
  /**
   * Scales a window of an RGB picture (uint8 H*W*3) to a square of `side` pixels in `target` at `offset`, mirrored left
   * to right on request, with its colours changed. Each pixel is averaged over at least `blur` pixels of the picture to
   * each side, by a triangle: a deviation of `blur` / sqrt(6). 1 leaves it sharp.
   */
  into(
    target: Uint8Array,
    offset: number,
    picture: Uint8Array,
    size: Size,
    window: Window,
    flip: boolean,
    colours: ColourMap,
    blur: number,
  ): void;
}

export function createResampler(side: number, largest: Size): Resampler {
  const narrow = new Float32Array(largest.height * side * 3);
  const line = new Float32Array(side * 3);
  // Windows repeat their few lengths all the time.
  const known = new Map<string, Taps>();
  const tapsOf = (length: number, blur: number): Taps => {
    const key = `${length} ${blur}`;
    const taps = known.get(key) ?? triangleTaps(length, side, blur);
    known.set(key, taps);
    return taps;
  };
  return {
    into(target, offset, picture, size, window, flip, { red, green, blue }, blur) {
      const columns = tapsOf(window.width, blur);
      for (let y = 0; y < window.height; y++) {
        const from = ((window.top + y) * size.width + window.left) * 3;
        const to = y * side * 3;
        for (let x = 0; x < side; x++) {
          let at = from + (columns.first[x] as number) * 3;
          let [r, g, b] = [0, 0, 0];
          for (let t = x * columns.taps, end = t + columns.taps; t < end; t++, at += 3) {
            const weight = columns.weights[t] as number;
            r += weight * (picture[at] as number);
            g += weight * (picture[at + 1] as number);
            b += weight * (picture[at + 2] as number);
          }
          const into = to + (flip ? side - 1 - x : x) * 3;
          narrow[into] = r;
          narrow[into + 1] = g;
          narrow[into + 2] = b;
        }
      }
      const rows = tapsOf(window.height, blur);
      const lineLength = side * 3;
      for (let y = 0; y < side; y++) {
        line.fill(0);
        for (let t = 0; t < rows.taps; t++) {
          const weight = rows.weights[y * rows.taps + t] as number;
          if (weight === 0) continue;
          const from = ((rows.first[y] as number) + t) * lineLength;
          for (let k = 0; k < lineLength; k++) line[k] = (line[k] as number) + weight * (narrow[from + k] as number);
        }
        const to = offset + y * lineLength;
        for (let k = 0; k < lineLength; k += 3) {
          const [r, g, b] = [line[k] as number, line[k + 1] as number, line[k + 2] as number];
          target[to + k] = byte(red[0] * r + red[1] * g + red[2] * b + red[3]);
          target[to + k + 1] = byte(green[0] * r + green[1] * g + green[2] * b + green[3]);
          target[to + k + 2] = byte(blue[0] * r + blue[1] * g + blue[2] * b + blue[3]);
        }
      }
    },
  };
}

/** Adds noise to every value of a picture: `normals`, deviations of a normal distribution, from `start` on, times `deviation` (of 0..255). */
export function addNoise(picture: Uint8Array, normals: Float32Array, start: number, deviation: number): void {
  for (let k = 0; k < picture.length; k++)
    picture[k] = byte((picture[k] as number) + deviation * (normals[(start + k) % normals.length] as number));
}

function byte(value: number): number {
  return value <= 0 ? 0 : value >= 255 ? 255 : (value + 0.5) | 0;
}

/** Fills a window of a square picture with one colour (random erasing: Zhong et al. 2020, arXiv:1708.04896). */
export function eraseWindow(picture: Uint8Array, offset: number, side: number, window: Window, colour: readonly number[]): void {
  for (let y = window.top; y < window.top + window.height; y++)
    for (let k = (y * side + window.left) * 3, end = k + window.width * 3; k < end; k++) picture[offset + k] = colour[k % 3] as number;
}

/** Blends two pictures of equal size: each keeps the share `share` of its pixels (mixup: Zhang et al. 2018, arXiv:1710.09412). */
export function blend(pictures: Uint8Array, first: number, second: number, bytes: number, share: number): void {
  for (let k = 0; k < bytes; k++) {
    const [a, b] = [pictures[first + k] as number, pictures[second + k] as number];
    pictures[first + k] = byte(share * a + (1 - share) * b);
    pictures[second + k] = byte(share * b + (1 - share) * a);
  }
}

/** Exchanges a window between two square pictures (cutmix: Yun et al. 2019, arXiv:1905.04899). */
export function exchangeWindow(pictures: Uint8Array, first: number, second: number, side: number, window: Window): void {
  for (let y = window.top; y < window.top + window.height; y++) {
    const from = (y * side + window.left) * 3;
    const row = pictures.slice(first + from, first + from + window.width * 3);
    pictures.copyWithin(first + from, second + from, second + from + window.width * 3);
    pictures.set(row, second + from);
  }
}
