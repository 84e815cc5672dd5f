import { deflateSync } from "node:zlib";
import { pngChunk } from "./pictures.ts";

export interface PlainPng {
  readonly width: number;
  readonly height: number;
  /** 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA. */
  readonly channels: 1 | 2 | 3 | 4;
  readonly depth: 8 | 16;
  /** Values of 0 to 255 in the order of the file; with 16 bits each is written as value * 257. */
  readonly values: readonly number[];
  readonly profile?: Uint8Array;
}

/** A PNG with exactly these values, so that only a decoder's treatment of depth and profile can change them. */
export function plainPng({ width, height, channels, depth, values, profile }: PlainPng): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, { 1: 0, 2: 4, 3: 2, 4: 6 }[channels]], 8);
  const rowBytes = 1 + (width * channels * depth) / 8;
  const rows = Buffer.alloc(height * rowBytes);
  for (const [i, value] of values.entries()) {
    const row = Math.floor(i / (width * channels));
    const at = row * rowBytes + 1 + ((i % (width * channels)) * depth) / 8;
    if (depth === 16) rows.writeUInt16BE(value * 257, at);
    else rows[at] = value;
  }
  const packed = profile && pngChunk("iCCP", Buffer.concat([Buffer.from("profile\0\0", "latin1"), deflateSync(profile)]));
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    pngChunk("IHDR", header),
    packed ?? Buffer.alloc(0),
    pngChunk("IDAT", deflateSync(rows)),
    pngChunk("IEND", Buffer.alloc(0)),
  ]);
}

/** An ICC profile (ICC.1:2001-04) of one gamma for all channels; for colours with the primaries of sRGB. */
export function gammaProfile(space: "GRAY" | "RGB ", gamma: number): Buffer {
  const fixed = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32BE(Math.round(value * 65536));
    return bytes;
  };
  const type = (name: string): Buffer => Buffer.from(`${name}\0\0\0\0`, "latin1");
  const xyz = (...values: readonly number[]): Buffer => Buffer.concat([type("XYZ "), ...values.map(fixed)]);
  const curve = Buffer.concat([type("curv"), Buffer.from([0, 0, 0, 1, Math.floor(gamma), Math.round((gamma % 1) * 256), 0, 0])]);
  const description = Buffer.concat([type("desc"), Buffer.from([0, 0, 0, 2, 0x78, 0]), Buffer.alloc(78)]);
  const common: [string, Buffer][] = [
    ["desc", description],
    ["wtpt", xyz(0.9642, 1, 0.8249)],
    ["cprt", Buffer.concat([type("text"), Buffer.from("x\0\0\0")])],
  ];
  const colours: [string, Buffer][] = [
    ["rTRC", curve],
    ["gTRC", curve],
    ["bTRC", curve],
    ["rXYZ", xyz(0.436, 0.2225, 0.0139)],
    ["gXYZ", xyz(0.3851, 0.7169, 0.0971)],
    ["bXYZ", xyz(0.1431, 0.0606, 0.7141)],
  ];
  const tags = [...common, ...(space === "GRAY" ? [["kTRC", curve] as [string, Buffer]] : colours)];
  let at = 132 + 12 * tags.length;
  const table: Buffer[] = [];
  const data: Buffer[] = [];
  for (const [name, content] of tags) {
    const entry = Buffer.alloc(12);
    entry.write(name, "latin1");
    entry.writeUInt32BE(at, 4);
    entry.writeUInt32BE(content.length, 8);
    table.push(entry);
    data.push(content, Buffer.alloc((4 - (content.length % 4)) % 4));
    at += Math.ceil(content.length / 4) * 4;
  }
  const header = Buffer.alloc(132);
  header.writeUInt32BE(at, 0);
  header.writeUInt32BE(0x02100000, 8);
  header.write(`mntr${space}XYZ `, 12, "latin1");
  header.write("acsp", 36, "latin1");
  Buffer.concat([fixed(0.9642), fixed(1), fixed(0.8249)]).copy(header, 68);
  header.writeUInt32BE(tags.length, 128);
  return Buffer.concat([header, ...table, ...data]);
}
