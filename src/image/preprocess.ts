import { ServalError } from "../errors/serval-error.ts";
import type { ImageLimits } from "./check-image.ts";
import { decodeUnopened, openImage, rawRgb, releasePixels } from "./decode.ts";

/** squash ignores the aspect ratio; crop fills and cuts from the centre; pad fits inside and fills the rest with black. */
export type Fit = "squash" | "crop" | "pad";
export type Kernel = "nearest" | "linear" | "cubic" | "mitchell" | "lanczos2" | "lanczos3";

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** How a picture becomes model input. Part of every bundle: training and service run this file with the same record. */
export interface Preprocess {
  /** Whether the EXIF orientation is applied first. */
  readonly orient: boolean;
  readonly width: number;
  readonly height: number;
  readonly fit: Fit;
  readonly kernel: Kernel;
  /** Centre crop after the resize; null keeps width x height. */
  readonly crop: Size | null;
}

/** The bars that `pad` adds. */
export const padBackground = "#000000";

const sharpFits = { squash: "fill", crop: "cover", pad: "contain" } as const;

/**
 * Decodes a picture and brings it to the model's size: uint8 RGB [H,W,3], H and W from `crop` or else `height`, `width`.
 * Gray, palette, CMYK and 16-bit files become 8-bit sRGB, transparency becomes white, of an animation the first frame
 * counts. JPEG files much larger than the target are scaled while they are decoded. In this process and for as long as it
 * takes: for pictures from elsewhere there is `preprocessImage`. Throws E_IMAGE_*.
 */
export async function preprocessHere(bytes: Uint8Array, preprocess: Preprocess, limits: ImageLimits): Promise<Uint8Array> {
  const { width, height, fit, kernel, crop } = preprocess;
  const { orient } = preprocess;
  const pipeline = decodeUnopened(bytes, limits, { orient });
  pipeline.resize(width, height, { fit: sharpFits[fit], kernel, position: "centre", background: padBackground });
  const { data, info } = await rawRgb(pipeline, limits).catch(async (error: unknown) => {
    // The header often knows more precisely what is wrong.
    await openImage(bytes, limits, { orient });
    throw error;
  });
  const row = toRgb(data, width * height, info.channels);
  const wanted = crop === null ? row : centerCrop(row, { width, height }, crop);
  if (wanted.buffer !== data.buffer) releasePixels(data);
  return wanted;
}

/** A decoder that was asked for raw bytes may still answer with one channel (gray) or four. */
function toRgb(data: Uint8Array, pixels: number, channels: number): Uint8Array {
  if (channels === 3) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const rgb = new Uint8Array(pixels * 3);
  const gray = channels < 3;
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) rgb[i * 3 + c] = data[i * channels + (gray ? 0 : c)] ?? 0;
  }
  return rgb;
}

/** Cuts the middle out of uint8 RGB [H,W,3]; an odd remainder leaves the extra line at the bottom and the right. */
export function centerCrop(row: Uint8Array, size: Size, crop: Size): Uint8Array {
  if (crop.width > size.width || crop.height > size.height) {
    throw new ServalError("E_PARAMS", `The crop ${crop.width}x${crop.height} does not fit into ${size.width}x${size.height}.`);
  }
  if (crop.width === size.width && crop.height === size.height) return row;
  const left = Math.floor((size.width - crop.width) / 2);
  const top = Math.floor((size.height - crop.height) / 2);
  const target = new Uint8Array(crop.width * crop.height * 3);
  for (let y = 0; y < crop.height; y++) {
    const start = ((top + y) * size.width + left) * 3;
    target.set(row.subarray(start, start + crop.width * 3), y * crop.width * 3);
  }
  return target;
}
