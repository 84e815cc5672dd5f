import sharp, { type Metadata, type Sharp } from "sharp";
import { ServalError } from "../errors.ts";
import { dhashOfPixels } from "./dhash.ts";

export type ImageFormat = "jpeg" | "png" | "webp" | "gif";

/** What a caller is ready to decode. Both are checked before a pixel is decoded. */
export interface ImageLimits {
  readonly maxBytes: number;
  /** Width times height, as the file's header declares them. */
  readonly maxPixels: number;
}

/** Limits for pictures from one's own disk: a 100-megapixel camera passes, a 16000x16000 bomb does not. */
export const defaultImageLimits: ImageLimits = { maxBytes: 64 * 1024 * 1024, maxPixels: 100_000_000 };

/** Transparent pixels become white: the background that most transparent pictures were drawn for. */
const flattenBackground = "#ffffff";

const formatNames = "JPEG, PNG, WebP or GIF";

/** The format by its first bytes; undefined for everything that is not on the list, whatever the file is called. */
export function identifyImage(bytes: Uint8Array): ImageFormat | undefined {
  if (startsWith(bytes, [0xff, 0xd8, 0xff])) return "jpeg";
  if (startsWith(bytes, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])) return "png";
  if (startsWith(bytes, [0x52, 0x49, 0x46, 0x46]) && startsWith(bytes.subarray(8), [0x57, 0x45, 0x42, 0x50])) return "webp";
  if (startsWith(bytes, [0x47, 0x49, 0x46, 0x38]) && (bytes[4] === 0x37 || bytes[4] === 0x39) && bytes[5] === 0x61) return "gif";
  return undefined;
}

function startsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return magic.every((byte, i) => bytes[i] === byte);
}

/** A picture that passed the allow-list and the limits; its pixels are not decoded yet. */
export interface OpenedImage {
  readonly format: ImageFormat;
  /** As stored, before EXIF orientation. */
  readonly width: number;
  readonly height: number;
  /** As seen, after EXIF orientation. */
  readonly orientedWidth: number;
  readonly orientedHeight: number;
  /** A pipeline on the first frame, with transparency flattened; decoding it rejects damaged and cut-off files. */
  readonly pipeline: Sharp;
}

let configured = false;

// Damaged and cut-off files fail; a harmless warning (bytes after the end, an odd profile) does not.
const failOn = "error";

/** Sets the library up on first use; every file of this folder that calls sharp calls this first. */
export function configureSharp(): void {
  if (configured) return;
  configured = true;
  // One thread a picture, many pictures at a time: faster for small pictures than many threads on one.
  sharp.concurrency(1);
  sharp.cache(false);
}

/** What can be told without a decoder: emptiness, size, magic bytes. Throws E_IMAGE_EMPTY, E_IMAGE_BYTES or E_IMAGE_FORMAT. */
function checkBytes(bytes: Uint8Array, limits: ImageLimits): ImageFormat {
  if (bytes.byteLength === 0) throw new ServalError("E_IMAGE_EMPTY", "The image has 0 bytes.");
  if (bytes.byteLength > limits.maxBytes) {
    throw new ServalError("E_IMAGE_BYTES", `The image has ${bytes.byteLength} bytes; at most ${limits.maxBytes} are read.`);
  }
  const format = identifyImage(bytes);
  if (format === undefined) {
    const start = Array.from(bytes.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    throw new ServalError("E_IMAGE_FORMAT", `The file starts with the bytes ${start}, which is not ${formatNames}.`);
  }
  return format;
}

/**
 * The pipeline of `openImage` without its look at the header, which costs a tenth of a prediction: size and format are
 * checked by the decoder as well, in fewer words. When it fails, `openImage` says why. Throws as `checkBytes` does.
 */
export function decodeUnopened(bytes: Uint8Array, limits: ImageLimits, options: { orient: boolean }): Sharp {
  configureSharp();
  checkBytes(bytes, limits);
  return decoder(bytes, limits, options);
}

function decoder(bytes: Uint8Array, limits: ImageLimits, options: { orient: boolean }): Sharp {
  return sharp(bytes, { failOn, limitInputPixels: limits.maxPixels, autoOrient: options.orient }).flatten({
    background: flattenBackground,
  });
}

/**
 * Checks bytes from anywhere, cheapest first: emptiness, size, magic bytes, header, pixel count. Throws E_IMAGE_EMPTY,
 * E_IMAGE_BYTES, E_IMAGE_FORMAT, E_IMAGE_CORRUPT or E_IMAGE_PIXELS.
 */
export async function openImage(bytes: Uint8Array, limits: ImageLimits, options: { orient: boolean }): Promise<OpenedImage> {
  configureSharp();
  const format = checkBytes(bytes, limits);
  // Without the library's own limit, so that the message can say how large the picture is; no pixel is decoded here.
  const header = await sharp(bytes, { failOn, limitInputPixels: false })
    .metadata()
    .catch((error: unknown) => {
      throw imageError(error, limits);
    });
  checkHeader(header, format, limits);
  return {
    format,
    width: header.width,
    height: header.height,
    orientedWidth: header.autoOrient.width,
    orientedHeight: header.autoOrient.height,
    pipeline: decoder(bytes, limits, options),
  };
}

function checkHeader(header: Metadata, format: ImageFormat, limits: ImageLimits): void {
  if (header.format !== format) {
    throw new ServalError("E_IMAGE_FORMAT", `The file starts like ${format} but holds ${header.format}; expected ${formatNames}.`);
  }
  if (header.width * header.height > limits.maxPixels) {
    throw new ServalError(
      "E_IMAGE_PIXELS",
      `The image is ${header.width}x${header.height}, ${header.width * header.height} pixels; at most ${limits.maxPixels} are decoded.`,
    );
  }
}

/** Turns a decoder's complaint into E_IMAGE_CORRUPT or E_IMAGE_PIXELS, with its text as the reason. */
function imageError(error: unknown, limits: ImageLimits): ServalError {
  if (error instanceof ServalError) return error;
  const reason = (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
  if (/pixel limit/i.test(reason)) {
    return new ServalError("E_IMAGE_PIXELS", `The image has more than ${limits.maxPixels} pixels.`, { cause: error });
  }
  return new ServalError("E_IMAGE_CORRUPT", `The image cannot be decoded: ${reason.trim()}.`, { cause: error });
}

/** Goes up whenever an inspection of the same bytes would say something else, so that recorded ones are made anew. */
export const inspectionVersion = 2;

/** What the manifest records of a picture; width and height as seen, after EXIF orientation. */
export interface ImageInspection {
  readonly format: ImageFormat;
  readonly width: number;
  readonly height: number;
  /** 64-bit difference hash in 16 hex digits, see dhash.ts. */
  readonly dhash: string;
}

/** Larger pictures are scaled down to this while they are decoded, before they are averaged to the hash's thumbnail. */
const inspectSide = 512;

/** Decodes every byte of a picture to check it, and returns its size and perceptual hash. Throws E_IMAGE_*. */
export async function inspectImage(bytes: Uint8Array, limits: ImageLimits): Promise<ImageInspection> {
  const image = await openImage(bytes, limits, { orient: true });
  // A decode without a resize costs half as much, which is most of an import; only large pictures need the shrinking decoder.
  if (image.width * image.height > 2 * inspectSide * inspectSide) image.pipeline.resize(inspectSide, inspectSide, { fit: "fill" });
  const { data, info } = await rawRgb(image.pipeline, limits);
  return { format: image.format, width: image.orientedWidth, height: image.orientedHeight, dhash: dhashOfPixels(data, info) };
}

/** Runs a pipeline to 8-bit sRGB pixels; gray pictures come with one channel. */
export async function rawRgb(
  pipeline: Sharp,
  limits: ImageLimits,
): Promise<{ data: Uint8Array; info: { width: number; height: number; channels: number } }> {
  return pipeline
    .toColourspace("srgb")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true })
    .catch((error: unknown) => {
      throw imageError(error, limits);
    });
}

/**
 * Gives pixels' memory back at once. The decoder's is not in V8's heap: V8 frees it when it tidies the whole heap of a thread, and
 * there may be so little else in that heap that it lets tens of megabytes gather.
 */
export function releasePixels(pixels: Uint8Array): void {
  if (pixels.byteLength === pixels.buffer.byteLength) (pixels.buffer as ArrayBuffer).transfer(0);
}
