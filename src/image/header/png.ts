import { inflateSync } from "node:zlib";
import { asBuffer, chunkType, everyday, isPlainProfile, type ImageHeader } from "./image-header.ts";

const channelsOf: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 3, 4: 2, 6: 4 };
const [header, pixels, end] = [chunkType("IHDR"), chunkType("IDAT"), chunkType("IEND")];
const [transparency, exif, profile] = [chunkType("tRNS"), chunkType("eXIf"), chunkType("iCCP")];
const packed = new Set([chunkType("zTXt"), chunkType("iTXt"), profile]);
/** A row costs this much even where it is one pixel wide. */
const rowWork = 64;
/** Interlaced pictures are decoded whole, in seven passes. */
const interlacedFactor = 8;

/** Reads the first chunk, and walks over the others (PNG specification, third edition, clause 11). */
export function readPngHeader(bytes: Uint8Array): ImageHeader | undefined {
  const file = asBuffer(bytes);
  if (file.length < 33 || file.readUInt32BE(12) !== header) return undefined;
  const [width, height] = [file.readUInt32BE(16), file.readUInt32BE(20)];
  const [depth, colour, interlace] = [file[24] ?? 0, file[25] ?? 0, file[28] ?? 0];
  const metadata = walkChunks(file);
  const channels = (channelsOf[colour] ?? 4) + (metadata.transparent && colour !== 4 && colour !== 6 ? 1 : 0);
  const decodedBytes = width * height * channels * (depth === 16 ? 2 : 1);
  const work = (decodedBytes + height * rowWork) * (interlace === 0 ? 1 : interlacedFactor);
  const deep = depth === 16 && metadata.profile ? ({ deepProfile: colour === 0 || colour === 4 ? "gray" : "rgb" } as const) : {};
  return { width, height, decodedBytes, frames: 1, work: metadata.everyday ? work : Infinity, ...deep };
}

/** `everyday`: there is as little metadata as pictures have. `transparent`: a chunk adds a channel. `profile`: there is a colour profile. */
function walkChunks(file: Buffer): { everyday: boolean; transparent: boolean; profile: boolean } {
  const found = { transparent: false, profile: false };
  let metadataBytes = 0;
  let packedChunks = 0;
  let at = 8;
  for (let chunks = 0; chunks < everyday.chunks; chunks++) {
    // A file that is cut off is refused where it ends.
    if (at + 12 > file.length) return { everyday: true, ...found };
    const length = file.readUInt32BE(at);
    const type = file.readUInt32BE(at + 4);
    if (type === end) return { everyday: true, ...found };
    if (type === transparency) found.transparent = true;
    if (type === profile) found.profile = true;
    if (type !== pixels) metadataBytes += length;
    if (packed.has(type)) packedChunks++;
    if (metadataBytes > everyday.metadataBytes || packedChunks > everyday.packedChunks) break;
    if (type === exif && length > everyday.exifBytes) break;
    if (type === profile && !hasPlainProfile(file.subarray(at + 8, at + 8 + length))) break;
    at += 12 + length;
  }
  return { everyday: false, ...found };
}

/** A name that ends with a zero byte, the method of compression, the profile. */
function hasPlainProfile(chunk: Buffer): boolean {
  try {
    return isPlainProfile(inflateSync(chunk.subarray(chunk.indexOf(0) + 2), { maxOutputLength: everyday.profileBytes }));
  } catch {
    return false; // damaged, or larger
  }
}
