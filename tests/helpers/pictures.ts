import { crc32, deflateSync } from "node:zlib";
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
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", deflateSync(Buffer.alloc(1000))), chunk("IEND", Buffer.alloc(0))]);
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  checksum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, checksum]);
}
