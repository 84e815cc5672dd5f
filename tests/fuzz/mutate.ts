import { crc32 } from "node:zlib";
import type { Random } from "./random.ts";
import type { Mutate } from "./target.ts";

const numbers = [0, 1, 2, 7, 8, 63, 64, 127, 128, 255, 256, 32_767, 65_535, 65_536, 2 ** 24, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];

/** A few changes to bytes: bits, numbers of all sizes, parts that are left out, doubled, moved or taken from another input. */
export const mutateBytes: Mutate = (input, random, corpus) => {
  let bytes = Buffer.from(input);
  for (let changes = 1 + random.below(4); changes > 0; changes--) {
    const at = random.below(bytes.length + 1);
    const length = 1 + random.below(random.pick([4, 16, 256]));
    const end = Math.min(bytes.length, at + length);
    switch (random.below(8)) {
      case 0:
        if (at < bytes.length) bytes[at] = bytes[at]! ^ (1 << random.below(8));
        break;
      case 1:
        if (at < bytes.length) bytes[at] = random.below(256);
        break;
      case 2:
        writeNumber(bytes, at, random);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
        break;
      case 5:
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.alloc(length, random.below(256)), bytes.subarray(at)]);
        break;
      case 6: {
        const other = Buffer.from(random.pick(corpus));
        const from = random.below(other.length + 1);
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(from, from + length * 4), bytes.subarray(end)]);
        break;
      }
      default:
        if (random.below(8) === 0) bytes = bytes.subarray(0, at);
    }
  }
  return bytes;
};

function writeNumber(bytes: Buffer, at: number, random: Random): void {
  const size = random.pick([1, 2, 4]);
  if (at + size > bytes.length) return;
  const value = random.pick(numbers) % 2 ** (8 * size);
  if (random.below(2) === 0) bytes.writeUIntBE(value, at, size);
  else bytes.writeUIntLE(value, at, size);
}

/** Changes to text by its words and signs; `words` are those that the format knows. */
export function mutateText(words: readonly string[]): Mutate {
  return (input, random, corpus) => {
    if (random.below(10) === 0) return mutateBytes(input, random, corpus);
    const split = (bytes: Uint8Array): string[] =>
      Buffer.from(bytes)
        .toString("utf8")
        .match(/\w+|\s+|[^\w\s]/gu) ?? [];
    let tokens = split(input);
    for (let changes = 1 + random.below(4); changes > 0; changes--) {
      const at = random.below(tokens.length + 1);
      const end = at + 1 + random.below(random.pick([1, 4, 20]));
      const part = tokens.slice(at, end);
      switch (random.below(7)) {
        case 0:
          tokens.splice(at, end - at);
          break;
        case 1:
          tokens.splice(at, 0, ...part);
          break;
        case 2:
          tokens.splice(at, 1, random.pick(words));
          break;
        case 3:
          tokens.splice(at, 0, random.pick(words));
          break;
        case 4:
          tokens.splice(random.below(tokens.length + 1), 0, ...tokens.splice(at, end - at));
          break;
        case 5: {
          const other = split(random.pick(corpus));
          const from = random.below(other.length + 1);
          tokens.splice(at, end - at, ...other.slice(from, from + 20));
          break;
        }
        default: {
          // Depth and length are what parsers forget to bound.
          const many = random.pick([2, 10, 100, 1000]);
          tokens.splice(at, 0, ...Array.from({ length: many }, () => part).flat());
          tokens = tokens.slice(0, 100_000);
        }
      }
    }
    return Buffer.from(tokens.join(""));
  };
}

interface Piece {
  readonly type: string;
  data: Buffer;
}

/** Changes to a picture by the pieces of its format: left out, doubled, moved, cut, filled, with right lengths and checksums around them. */
export const mutatePicture: Mutate = (input, random, corpus) => {
  const bytes = Buffer.from(input);
  const format = formats.find(({ magic }) => bytes.subarray(0, magic.length).equals(magic));
  if (format === undefined || random.below(4) === 0) return mutateBytes(bytes, random, corpus);
  const pieces = format.split(bytes);
  if (pieces.length === 0) return mutateBytes(bytes, random, corpus);
  for (let changes = 1 + random.below(3); changes > 0 && pieces.length > 0; changes--) {
    const at = random.below(pieces.length);
    const piece = pieces[at]!;
    switch (random.below(6)) {
      case 0:
        pieces.splice(at, 1);
        break;
      case 1:
        pieces.splice(at, 0, ...Array.from({ length: random.pick([1, 1, 2, 100]) }, () => ({ ...piece })));
        break;
      case 2:
        pieces.splice(random.below(pieces.length), 0, ...pieces.splice(at, 1));
        break;
      case 3:
        piece.data = piece.data.subarray(0, random.below(piece.data.length + 1));
        break;
      default:
        piece.data = Buffer.from(mutateBytes(piece.data, random, corpus));
    }
  }
  return format.join(bytes, pieces);
};

interface Format {
  readonly magic: Buffer;
  readonly split: (bytes: Buffer) => Piece[];
  readonly join: (bytes: Buffer, pieces: readonly Piece[]) => Buffer;
}

/** The pieces of a file of chunks, each with a type of four letters and a length. */
function splitChunks(
  bytes: Buffer,
  start: number,
  read: (at: number) => { type: string; size: number; from: number; next: number },
): Piece[] {
  const pieces: Piece[] = [];
  for (let at = start; at + 8 <= bytes.length;) {
    const { type, size, from, next } = read(at);
    pieces.push({ type, data: bytes.subarray(from, from + size) });
    at = Math.max(next, at + 8);
  }
  return pieces;
}

const number = (value: number, order: "BE" | "LE"): Buffer => {
  const bytes = Buffer.alloc(4);
  if (order === "BE") bytes.writeUInt32BE(value);
  else bytes.writeUInt32LE(value);
  return bytes;
};

const png: Format = {
  magic: Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
  split: (bytes) =>
    splitChunks(bytes, 8, (at) => {
      const size = bytes.readUInt32BE(at);
      return { type: bytes.toString("latin1", at + 4, at + 8), size, from: at + 8, next: at + 12 + size };
    }),
  join: (_bytes, pieces) => {
    const chunks = pieces.map(({ type, data }) => {
      const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
      return Buffer.concat([number(data.length, "BE"), body, number(crc32(body), "BE")]);
    });
    return Buffer.concat([png.magic, ...chunks]);
  },
};

const webp: Format = {
  magic: Buffer.from("RIFF"),
  split: (bytes) =>
    splitChunks(bytes, 12, (at) => {
      const size = bytes.readUInt32LE(at + 4);
      return { type: bytes.toString("latin1", at, at + 4), size, from: at + 8, next: at + 8 + size + (size % 2) };
    }),
  join: (_bytes, pieces) => {
    const chunks = pieces.map(({ type, data }) =>
      Buffer.concat([Buffer.from(type, "latin1"), number(data.length, "LE"), data, Buffer.alloc(data.length % 2)]),
    );
    const body = Buffer.concat([Buffer.from("WEBP"), ...chunks]);
    return Buffer.concat([webp.magic, number(body.length, "LE"), body]);
  },
};

const jpeg: Format = {
  magic: Buffer.from([0xff, 0xd8]),
  split: (bytes) => {
    const pieces: Piece[] = [];
    let at = 2;
    while (at + 4 <= bytes.length && bytes[at] === 0xff) {
      const size = bytes.readUInt16BE(at + 2);
      const isScan = bytes[at + 1] === 0xda;
      // What follows the header of a scan is the picture, up to the end of the file.
      pieces.push({ type: String.fromCharCode(bytes[at + 1]!), data: bytes.subarray(at + 4, isScan ? bytes.length : at + 2 + size) });
      if (isScan) break;
      at += 2 + Math.max(2, size);
    }
    return pieces;
  },
  join: (_bytes, pieces) => {
    const segments = pieces.map(({ type, data }) => {
      const header = Buffer.from([0xff, type.charCodeAt(0), 0, 0]);
      header.writeUInt16BE(type === "\xda" ? Math.min(12, data.length + 2) : Math.min(65_535, data.length + 2), 2);
      return Buffer.concat([header, data]);
    });
    return Buffer.concat([jpeg.magic, ...segments]);
  },
};

/** The header and colours, then blocks: extensions and frames, cut where the next one seems to begin. */
const gif: Format = {
  magic: Buffer.from("GIF8"),
  split: (bytes) => {
    const pieces: Piece[] = [];
    const start = 13 + (bytes[10]! & 0x80 ? 3 * 2 ** ((bytes[10]! & 7) + 1) : 0);
    let from = start;
    for (let at = start + 1; at <= bytes.length; at++) {
      if (at < bytes.length && !(bytes[at - 1] === 0 && [0x21, 0x2c, 0x3b].includes(bytes[at]!))) continue;
      pieces.push({ type: "block", data: bytes.subarray(from, at) });
      from = at;
    }
    return [{ type: "head", data: bytes.subarray(4, start) }, ...pieces];
  },
  join: (_bytes, pieces) => Buffer.concat([gif.magic, ...pieces.map(({ data }) => data)]),
};

const formats: readonly Format[] = [png, webp, jpeg, gif];
