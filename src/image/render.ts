import sharp from "sharp";
import { configureSharp } from "./decode.ts";

export interface RenderOptions {
  readonly format: "png" | "jpeg";
  /** JPEG quality, 1 to 100. */
  readonly quality?: number;
  /** Width in pixels; the SVG's own width without it. */
  readonly width?: number;
  /** Pixels per unit of the SVG, 1 without it: 2 draws it twice as large and as sharp. */
  readonly scale?: number;
}

/** What librsvg takes for one pixel per unit. */
const unitDensity = 72;

/** Draws an SVG that we made ourselves. Never for a user's SVG: those are refused before they reach a decoder. */
export async function renderSvg(svg: string, options: RenderOptions): Promise<Buffer> {
  const image = sharp(Buffer.from(svg), { density: unitDensity * (options.scale ?? 1) });
  if (options.width !== undefined) image.resize(options.width);
  return options.format === "png"
    ? image.png().toBuffer()
    : image
        .flatten({ background: "#ffffff" })
        .jpeg({ quality: options.quality ?? 90 })
        .toBuffer();
}

/** Encodes uint8 RGB [height, width, 3], such as a shard row, as a PNG. */
export async function encodePng(rgb: Uint8Array, width: number, height: number): Promise<Buffer> {
  return sharp(rgb, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

/** Encodes uint8 RGB [height, width, 3] as a small JPEG: `side` pixels at most, whatever its proportions. */
export async function encodeThumbnail(rgb: Uint8Array, width: number, height: number, side: number): Promise<Buffer> {
  return sharp(rgb, { raw: { width, height, channels: 3 } })
    .resize(side, side, { fit: "inside", withoutEnlargement: true })
    .jpeg({ quality: 80 })
    .toBuffer();
}

/** Draws an SVG, hands its uint8 RGB pixels to `edit`, and returns them as a JPEG file. */
export async function renderPixels(
  svg: string,
  options: { blur: number; quality: number },
  edit: (rgb: Uint8Array, width: number, height: number) => void,
): Promise<Uint8Array> {
  configureSharp();
  const image = sharp(Buffer.from(svg)).flatten({ background: "#ffffff" }).toColourspace("srgb");
  if (options.blur > 0.3) image.blur(options.blur);
  const { data, info } = await image.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
  edit(data, info.width, info.height);
  return sharp(data, { raw: { width: info.width, height: info.height, channels: 3 } })
    .jpeg({ quality: options.quality })
    .toBuffer();
}
