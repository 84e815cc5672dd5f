import { asBuffer, everyday, type ImageHeader } from "./image-header.ts";

const pixelWork = 8;
const [extension, image, trailer] = [0x21, 0x2c, 0x3b];

/** Walks over the blocks (GIF89a, section 18 to 24). A frame may be larger than the screen that the header declares. */
export function readGifHeader(bytes: Uint8Array): ImageHeader | undefined {
  const file = asBuffer(bytes);
  if (file.length < 13) return undefined;
  let [width, height] = [file.readUInt16LE(6), file.readUInt16LE(8)];
  let frames = 0;
  let blocks = 0;
  let at = 13 + tableBytes(file[10] ?? 0);
  const skipData = (): void => {
    while (at < file.length && file[at] !== 0 && blocks++ < everyday.blocks) at += 1 + (file[at] as number);
    at++;
  };
  while (at < file.length && file[at] !== trailer && blocks++ < everyday.blocks) {
    const kind = file[at];
    if (kind === extension) {
      at += 2;
    } else if (kind === image && at + 10 <= file.length) {
      frames++;
      width = Math.max(width, file.readUInt16LE(at + 1) + file.readUInt16LE(at + 5));
      height = Math.max(height, file.readUInt16LE(at + 3) + file.readUInt16LE(at + 7));
      at += 11 + tableBytes(file[at + 9] ?? 0);
    } else {
      break;
    }
    skipData();
  }
  const pixels = width * height;
  // Decoders do not agree on what comes after something that is not a block.
  const whole = at >= file.length || file[at] === trailer;
  const everydayFile = whole && blocks < everyday.blocks && frames <= everyday.frames;
  return { width, height, decodedBytes: pixels * 4, frames: Math.max(1, frames), work: everydayFile ? pixels * pixelWork : Infinity };
}

/** Size of the colour table that these flags announce. */
function tableBytes(flags: number): number {
  return (flags & 0x80) === 0 ? 0 : 3 * 2 ** ((flags & 7) + 1);
}
