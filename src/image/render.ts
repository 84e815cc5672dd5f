import sharp from "sharp";

export interface RenderOptions {
  readonly format: "png" | "jpeg";
  /** JPEG quality, 1 to 100. */
  readonly quality?: number;
  /** Width in pixels; the SVG's own width without it. */
  readonly width?: number;
}

/** Draws an SVG that we made ourselves. Never for a user's SVG: those are refused before they reach a decoder. */
export async function renderSvg(svg: string, options: RenderOptions): Promise<Buffer> {
  const image = sharp(Buffer.from(svg));
  if (options.width !== undefined) image.resize(options.width);
  return options.format === "png"
    ? image.png().toBuffer()
    : image
        .flatten({ background: "#ffffff" })
        .jpeg({ quality: options.quality ?? 90 })
        .toBuffer();
}
