import sharp, { type Sharp } from "sharp";
import { ServalError } from "../errors/serval-error.ts";
import { checkImage, checkPixels, type CheckedImage, type ImageFormat, type ImageLimits } from "./check-image.ts";
import { dhashOfPixels } from "./dhash.ts";

/** Transparent pixels become white: the background that most transparent pictures were drawn for. */
const flattenBackground = "#ffffff";

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

/**
 * The pipeline of `openImage` without the library's look at the header, which costs a tenth of a prediction. When decoding
 * fails, `openImage` says why in more words. Throws as `checkImage` does.
 */
export function decodeUnopened(bytes: Uint8Array, limits: ImageLimits, options: { orient: boolean }): Sharp {
  configureSharp();
  return decoder(bytes, limits, options, checkImage(bytes, limits));
}

function decoder(bytes: Uint8Array, limits: ImageLimits, options: { orient: boolean }, { deepProfile }: CheckedImage): Sharp {
  const pipeline = sharp(bytes, { failOn, limitInputPixels: limits.maxPixels, autoOrient: options.orient }).flatten({
    background: flattenBackground,
  });
  // The library turns 16 bits with a profile into Display P3, or leaves a gray profile out. From 8 bits it makes sRGB.
  return deepProfile === undefined ? pipeline : pipeline.pipelineColourspace(deepProfile === "gray" ? "b-w" : "srgb");
}

/** Checks bytes from anywhere, first by our own reading of the header and then by the library's. Throws E_IMAGE_*. */
export async function openImage(bytes: Uint8Array, limits: ImageLimits, options: { orient: boolean }): Promise<OpenedImage> {
  configureSharp();
  const checked = checkImage(bytes, limits);
  const { format } = checked;
  // Without the library's own limit, so that the message can say how large the picture is; no pixel is decoded here.
  const header = await sharp(bytes, { failOn, limitInputPixels: false })
    .metadata()
    .catch((error: unknown) => {
      throw imageError(error, limits);
    });
  if (header.format !== format) {
    throw new ServalError("E_IMAGE_FORMAT", `The file starts like ${format} but contains ${header.format}; expected the same format.`);
  }
  checkPixels(header.width, header.height, limits.maxPixels);
  return {
    format,
    width: header.width,
    height: header.height,
    orientedWidth: header.autoOrient.width,
    orientedHeight: header.autoOrient.height,
    pipeline: decoder(bytes, limits, options, checked),
  };
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

/** Goes up whenever an inspection of the same bytes would say something else, so that recorded ones are made again. */
export const inspectionVersion = 3;

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

/**
 * Decodes every byte of a picture to check it, and returns its size and perceptual hash. In this process and for as long as
 * it takes: for pictures from elsewhere there is `inspectImage`. Throws E_IMAGE_*.
 */
export async function inspectHere(bytes: Uint8Array, limits: ImageLimits): Promise<ImageInspection> {
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
