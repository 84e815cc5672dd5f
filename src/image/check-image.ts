import { ServalError } from "../errors/serval-error.ts";
import { readGifHeader } from "./header/gif.ts";
import type { ImageHeader } from "./header/image-header.ts";
import { readJpegHeader } from "./header/jpeg.ts";
import { readPngHeader } from "./header/png.ts";
import { readWebpHeader } from "./header/webp.ts";
import { nameFormat } from "./name-format.ts";

export type ImageFormat = "jpeg" | "png" | "webp" | "gif";

/** What a caller is ready to decode. All but the time is checked before a pixel is decoded. */
export interface ImageLimits {
  readonly maxBytes: number;
  /** Width times height, as the file's header declares them. A decoded picture may take four bytes for each of these pixels. */
  readonly maxPixels: number;
  /** Processor time that decoding may take, so that it does not depend on what else the machine does; default `defaultMaxDecodeMs`. */
  readonly maxDecodeMs?: number | undefined;
}

export const defaultMaxDecodeMs = 5000;

/** Limits for pictures from one's own disk: a 100-megapixel camera passes, a 16000x16000 bomb does not. */
export const defaultImageLimits: ImageLimits = { maxBytes: 64 * 1024 * 1024, maxPixels: 100_000_000 };

/** The longest side that a JPEG can have. A decoder has work for each row, however short it is. */
const maxSide = 65_535;
/** Of an animation only the first frame is decoded, but the libraries look at all of them. */
const maxFrames = 10_000;
/** For each pixel of `maxPixels`: red, green, blue and alpha, or red, green and blue of 16 bits for two thirds of the pixels. */
const bytesPerPixel = 4;

/** Pictures that cost more may take longer than others should wait. At this bound they take up to a few tenths of a second of one core. */
const costlyWork = 32_000_000;

export interface CheckedImage {
  readonly format: ImageFormat;
  /** As stored, before EXIF orientation; undefined where the header is not understood. */
  readonly size?: { readonly width: number; readonly height: number } | undefined;
  /** What decoding costs at most, as in `ImageHeader`. Infinity where the header does not say. */
  readonly work: number;
  /** Whether decoding may take so long that it must be possible to end it. */
  readonly costly: boolean;
  /** For 16 bits a channel with a colour profile: what kind of picture it is. */
  readonly deepProfile?: "gray" | "rgb" | undefined;
}

const formatNames = "JPEG, PNG, WebP or GIF";

const readHeader: Readonly<Record<ImageFormat, (bytes: Uint8Array) => ImageHeader | undefined>> = {
  jpeg: readJpegHeader,
  png: readPngHeader,
  webp: readWebpHeader,
  gif: readGifHeader,
};

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

/**
 * Checks everything that can be told without a decoder, in less than a few milliseconds for any bytes. Throws
 * E_IMAGE_EMPTY, E_IMAGE_BYTES, E_IMAGE_FORMAT, E_IMAGE_PIXELS or E_IMAGE_FRAMES.
 */
export function checkImage(bytes: Uint8Array, limits: ImageLimits): CheckedImage {
  const format = checkBytes(bytes, limits);
  const header = readHeader[format](bytes);
  if (header === undefined) return { format, work: Infinity, costly: true };
  checkHeader(header, limits);
  const { width, height, work, deepProfile } = header;
  return { format, size: { width, height }, work, costly: work > costlyWork, deepProfile };
}

function checkBytes(bytes: Uint8Array, limits: ImageLimits): ImageFormat {
  if (bytes.byteLength === 0) throw new ServalError("E_IMAGE_EMPTY", "The image has 0 bytes.");
  if (bytes.byteLength > limits.maxBytes) {
    throw new ServalError("E_IMAGE_BYTES", `The image has ${bytes.byteLength} bytes; at most ${limits.maxBytes} are read.`);
  }
  const format = identifyImage(bytes);
  if (format === undefined) throw formatError(bytes);
  return format;
}

/** Says what the bytes are, where they are something that people take for a picture. */
function formatError(bytes: Uint8Array): ServalError {
  const known = nameFormat(bytes);
  if (known !== undefined) {
    const { name, short, remedy } = known;
    // In the message: where many files are judged, hints have no place.
    return new ServalError("E_IMAGE_FORMAT", `The file is ${name}, which is not ${formatNames}. ${remedy}`, { details: { format: short } });
  }
  const start = Array.from(bytes.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  const text = plainStart(bytes);
  const shown = text === undefined ? "" : ` (the text ${JSON.stringify(text)})`;
  return new ServalError("E_IMAGE_FORMAT", `The file starts with the bytes ${start}${shown}, which is not ${formatNames}.`);
}

/** How a text of printable ASCII begins: an error of a server, a note. */
function plainStart(bytes: Uint8Array): string | undefined {
  const start = Buffer.from(bytes.subarray(0, 40)).toString("latin1");
  return start.length >= 4 && /^[\t\r\n\x20-\x7e]+$/.test(start) ? start.trim() : undefined;
}

function checkHeader({ width, height, decodedBytes, frames }: ImageHeader, { maxPixels }: ImageLimits): void {
  const size = `The image is ${width}x${height}`;
  checkPixels(width, height, maxPixels);
  if (Math.max(width, height) > maxSide) {
    throw new ServalError("E_IMAGE_PIXELS", `${size} pixels; each side may have at most ${maxSide}.`, {
      hint: "Cut the picture into parts, or scale it down.",
    });
  }
  if (decodedBytes > maxPixels * bytesPerPixel) {
    throw new ServalError(
      "E_IMAGE_PIXELS",
      `${size}, ${decodedBytes} bytes when decoded; at most ${maxPixels * bytesPerPixel} are decoded.`,
      {
        hint: "Save the picture with 8 bits a channel, scale it down, or raise SERVAL_MAX_PIXELS.",
      },
    );
  }
  if (frames > maxFrames) throw new ServalError("E_IMAGE_FRAMES", `The animation has more than ${maxFrames} frames.`);
}

/** Throws E_IMAGE_PIXELS. */
export function checkPixels(width: number, height: number, maxPixels: number): void {
  if (width * height <= maxPixels) return;
  const size = `The image is ${width}x${height}`;
  throw new ServalError("E_IMAGE_PIXELS", `${size}, ${width * height} pixels; at most ${maxPixels} are decoded.`);
}
