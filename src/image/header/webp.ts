import { asBuffer, chunkType, everyday, isPlainProfile, type ImageHeader } from "./image-header.ts";

const pixelWork = 8;
const [lossy, lossless, extended] = [chunkType("VP8 "), chunkType("VP8L"), chunkType("VP8X")];
const [frame, exif, profile] = [chunkType("ANMF"), chunkType("EXIF"), chunkType("ICCP")];
const pixelChunks = new Set([lossy, lossless, chunkType("ALPH")]);
const alphaFlag = 0x10;
const animationFlag = 0x02;

/** Reads the first chunk, and walks over the others of an extended file (RFC 9649). */
export function readWebpHeader(bytes: Uint8Array): ImageHeader | undefined {
  const file = asBuffer(bytes);
  if (file.length < 30) return undefined;
  const first = file.readUInt32BE(12);
  if (first === lossy) return headerOf(file.readUInt16LE(26) & 0x3fff, file.readUInt16LE(28) & 0x3fff, 3);
  if (first === lossless) {
    const bits = file.readUInt32LE(21);
    return headerOf((bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1, 4);
  }
  if (first !== extended) return undefined;
  const flags = file[20] ?? 0;
  const animated = (flags & animationFlag) !== 0;
  const header = headerOf(file.readUIntLE(24, 3) + 1, file.readUIntLE(27, 3) + 1, animated || (flags & alphaFlag) !== 0 ? 4 : 3);
  const walked = walkChunks(file);
  // Its reader compares each frame with those before.
  const everydayFile = walked.everyday && walked.frames <= everyday.frames;
  return { ...header, frames: Math.max(1, walked.frames), work: everydayFile ? header.work : Infinity };
}

function headerOf(width: number, height: number, channels: number): ImageHeader {
  const pixels = width * height;
  return { width, height, decodedBytes: pixels * channels, frames: 1, work: pixels * pixelWork };
}

function walkChunks(file: Buffer): { everyday: boolean; frames: number } {
  let frames = 0;
  let metadataBytes = 0;
  let at = 12;
  for (let chunks = 0; chunks < everyday.chunks + everyday.frames; chunks++) {
    if (at + 8 > file.length) return { everyday: true, frames };
    const type = file.readUInt32BE(at);
    const length = file.readUInt32LE(at + 4);
    if (type === frame) frames++;
    else if (!pixelChunks.has(type)) metadataBytes += length;
    if (metadataBytes > everyday.metadataBytes || (type === exif && length > everyday.exifBytes)) break;
    if (type === profile && !isPlainProfile(file.subarray(at + 8, at + 8 + length))) break;
    // Chunks begin at even places.
    at += 8 + length + (length % 2);
  }
  return { everyday: false, frames };
}
