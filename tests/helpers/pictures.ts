import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { crc32, createDeflate, deflateSync } from "node:zlib";
import sharp, { type Sharp } from "sharp";
import { createRandom } from "../../src/data/sources/drawing/random.ts";

/** A picture without symmetry: a few soft blobs of colour on a gradient, different for each seed. */
export function blobs(seed: string, width = 96, height = 72): Sharp {
  const random = createRandom(seed);
  const hue = (): number => Math.floor(random.range(0, 360));
  const circles = Array.from(
    { length: 9 },
    () =>
      `<circle cx="${random.range(0, width)}" cy="${random.range(0, height)}" r="${random.range(6, width / 3)}" fill="hsl(${hue()},70%,${Math.floor(random.range(15, 85))}%)" fill-opacity="0.8"/>`,
  );
  return sharp(
    Buffer.from(
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%" fill="hsl(${hue()},40%,50%)"/>${circles.join("")}</svg>`,
    ),
  ).flatten();
}

export async function jpeg(seed: string, width?: number, height?: number): Promise<Buffer> {
  return await blobs(seed, width, height).jpeg({ quality: 90 }).toBuffer();
}

/** A PNG whose header claims a size that its few bytes do not hold. */
export function pngClaiming(width: number, height: number): Buffer {
  return png(width, height, [8, 2, 0, 0, 0], pngChunk("IDAT", deflateSync(Buffer.alloc(1000))));
}

export function pngChunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  checksum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, checksum]);
}

/** The same picture with another size in its header. */
export function claiming(picture: Buffer, width: number, height: number): Buffer {
  const bytes = Buffer.from(picture);
  if (bytes[0] === 0x89) {
    bytes.writeUInt32BE(width, 16);
    bytes.writeUInt32BE(height, 20);
  } else if (bytes[0] === 0xff) {
    const frame = Math.max(bytes.indexOf("ffc00011", "hex"), bytes.indexOf("ffc20011", "hex"));
    bytes.writeUInt16BE(height, frame + 5);
    bytes.writeUInt16BE(width, frame + 7);
  } else if (bytes[0] === 0x47) {
    bytes.writeUInt16LE(width, 6);
    bytes.writeUInt16LE(height, 8);
  } else {
    bytes.writeUInt16LE(width, 26);
    bytes.writeUInt16LE(height, 28);
  }
  return bytes;
}

export interface PngOptions {
  readonly width: number;
  readonly height: number;
  readonly depth?: 1 | 8 | 16;
  /** As PNG numbers them: 0 gray, 2 RGB, 3 palette, 6 RGBA. */
  readonly colour?: 0 | 2 | 3 | 6;
  readonly interlaced?: boolean;
  /** Whole chunks before the pixels. */
  readonly chunks?: Buffer;
}

/** A sound PNG with all of its pixels, which are black: a thousandth of their size in the file. */
export async function blackPng({ width, height, depth = 8, colour = 2, interlaced = false, chunks }: PngOptions): Promise<Buffer> {
  const channels = { 0: 1, 2: 3, 3: 1, 6: 4 }[colour];
  const rows = height * (Math.ceil((width * channels * depth) / 8) + 1);
  // Seven passes have more row starts than one.
  const pixels = await compressedZeros(interlaced ? rows + 16 * height : rows);
  return png(width, height, [depth, colour, 0, 0, interlaced ? 1 : 0], chunks ?? Buffer.alloc(0), pngChunk("IDAT", pixels));
}

function png(width: number, height: number, rest: readonly number[], ...chunks: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set(rest, 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, pngChunk("IHDR", header), ...chunks, pngChunk("IEND", Buffer.alloc(0))]);
}

/** This number of zero bytes in zlib's format, without holding them in memory. */
export async function compressedZeros(count: number): Promise<Buffer> {
  const piece = Buffer.alloc(1 << 20);
  function* zeros(): Generator<Buffer> {
    for (let left = count; left > 0; left -= piece.length) yield piece.subarray(0, Math.min(left, piece.length));
  }
  return await buffer(Readable.from(zeros()).pipe(createDeflate({ level: 1 })));
}

export function repeated(part: Buffer, times: number): Buffer {
  return Buffer.alloc(part.length * times, part);
}

/** A valid GIF with this number of frames of one pixel. */
export function gifOfFrames(count: number, width = 1, height = 1): Buffer {
  const screen = Buffer.from([0x47, 0x49, 0x46, 0x38, 0x39, 0x61, width & 255, width >> 8, height & 255, height >> 8, 0x80, 0, 0]);
  const frame = Buffer.from([0x2c, 0, 0, 0, 0, width & 255, width >> 8, height & 255, height >> 8, 0, 2, 2, 0x44, 1, 0]);
  return Buffer.concat([screen, Buffer.from([0, 0, 0, 255, 255, 255]), repeated(frame, count), Buffer.from([0x3b])]);
}

/** A valid animated WebP with this number of frames of one pixel. */
export async function webpOfFrames(count: number): Promise<Buffer> {
  const still = await sharp({ create: { width: 1, height: 1, channels: 3, background: "#000" } })
    .webp({ lossless: true })
    .toBuffer();
  const frame = riffChunk("ANMF", Buffer.concat([Buffer.alloc(12), Buffer.from([100, 0, 0, 0]), still.subarray(12)]));
  const extended = riffChunk("VP8X", Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
  const chunks = [Buffer.from("WEBP"), extended, riffChunk("ANIM", Buffer.alloc(6)), repeated(frame, count)];
  return riffChunk("RIFF", Buffer.concat(chunks));
}

export function riffChunk(type: string, data: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(data.length);
  return Buffer.concat([Buffer.from(type, "latin1"), length, data, Buffer.alloc(data.length % 2)]);
}

/**
 * A sound progressive JPEG of black with as many scans as wanted, each of a few bytes: after the first, each gives one bit of one
 * coefficient of one colour, and says of all blocks that it is 0 there (ITU-T T.81, annex G).
 */
export function jpegOfScans(width: number, height: number, scans: number): Buffer {
  const colours = [1, 2, 3];
  const blocks = Math.ceil(width / 8) * Math.ceil(height / 8);
  const size = Buffer.from([8, height >> 8, height & 255, width >> 8, width & 255, colours.length]);
  const scan = (of: readonly number[], [first, last]: readonly number[], bits: number, data: Buffer): Buffer =>
    Buffer.concat([jpegSegment(0xda, Buffer.from([of.length, ...of.flatMap((colour) => [colour, 0]), first!, last!, bits])), data]);
  // A code of one bit for "the next 16,384 to 32,767 blocks are 0", with 14 bits of how many.
  const run = (count: number): string => `0${(count - 16_384).toString(2).padStart(14, "0")}`;
  const runs = run(32_767).repeat(Math.floor(blocks / 32_767)) + run(Math.max(16_384, blocks % 32_767));
  const nothing = Buffer.from(
    runs.match(/.{1,8}/g)!.flatMap((bits) => (bits === "11111111" ? [255, 0] : [parseInt(bits.padEnd(8, "1"), 2)])),
  );
  const refinements = Array.from({ length: 63 }, (_, k) => k + 1).flatMap((k) =>
    colours.flatMap((colour) => Array.from({ length: 14 }, (_, i) => ({ k, colour, bits: i === 0 ? 13 : ((14 - i) << 4) | (13 - i) }))),
  );
  return Buffer.concat([
    Buffer.from([0xff, 0xd8]),
    jpegSegment(0xdb, Buffer.from([0, ...Array<number>(64).fill(1)])),
    jpegSegment(0xc2, Buffer.concat([size, ...colours.map((colour) => Buffer.from([colour, 0x11, 0]))])),
    jpegSegment(0xc4, Buffer.from([0x00, 1, ...Array<number>(15).fill(0), 0])),
    jpegSegment(0xc4, Buffer.from([0x10, 1, ...Array<number>(15).fill(0), 0xe0])),
    scan(colours, [0, 0], 0, Buffer.alloc(Math.ceil((blocks * colours.length) / 8))),
    ...refinements.slice(0, scans - 1).map(({ k, colour, bits }) => scan([colour], [k, k], bits, nothing)),
    Buffer.from([0xff, 0xd9]),
  ]);
}

export function jpegSegment(marker: number, data: Buffer): Buffer {
  const head = Buffer.from([0xff, marker, 0, 0]);
  head.writeUInt16BE(data.length + 2, 2);
  return Buffer.concat([head, data]);
}

/** Noise, which takes a decoder longer than anything that people photograph. */
export function noise(width: number, height: number, channels: 3 | 4 = 3): Sharp {
  const random = createRandom("noise");
  const tile = Uint8Array.from({ length: 65_521 }, () => random.range(0, 256));
  return sharp(Buffer.alloc(width * height * channels, tile), { raw: { width, height, channels } });
}
