import sharp from "sharp";
import type { ImageLimits } from "./check-image.ts";
import { configureSharp, openImage } from "./decode.ts";
import { preprocessHere, type Preprocess, type Size } from "./preprocess.ts";

/** Longest side of the drawn picture, in pixels. */
const longestSide = 448;

/** From cold to hot: position, red, green, blue, opacity. The picture stays as it is where the map says nothing. */
const colours: readonly (readonly [number, number, number, number, number])[] = [
  [0, 40, 20, 120, 0],
  [0.35, 110, 30, 150, 0.3],
  [0.6, 230, 70, 70, 0.5],
  [0.8, 255, 150, 30, 0.6],
  [1, 255, 240, 80, 0.65],
];

/** A picture as the model saw it (oriented, cropped), in more pixels. */
export interface SeenPicture {
  /** uint8 RGB of the size that `viewOf` gives. */
  readonly pixels: Uint8Array;
  /** Of the whole picture, oriented as the model saw it. */
  readonly size: Size;
}

/** Decodes a picture for `drawHeatMap`. In this process and for as long as it takes. Throws E_IMAGE_*. */
export async function decodeForMap(image: Uint8Array, preprocess: Preprocess, limits: ImageLimits): Promise<SeenPicture> {
  const { larger } = viewOf(preprocess);
  const crop = preprocess.crop && larger(preprocess.crop);
  const pixels = await preprocessHere(image, { ...preprocess, ...larger(preprocess), crop }, limits);
  const opened = await openImage(image, limits, { orient: preprocess.orient });
  const [width, height] = preprocess.orient ? [opened.orientedWidth, opened.orientedHeight] : [opened.width, opened.height];
  return { pixels, size: { width, height } };
}

/**
 * Draws a map [height,width] over the picture; squashed pictures get their shape back. What speaks against the class
 * (below 0) stays clear. Returns a PNG.
 */
export async function drawHeatMap(
  { pixels, size: whole }: SeenPicture,
  preprocess: Preprocess,
  map: Size & { readonly values: Float32Array },
): Promise<Buffer> {
  configureSharp();
  const { view } = viewOf(preprocess);
  const size = preprocess.fit === "squash" ? fitInside(whole) : view;
  const picture = await sharp(pixels, { raw: { ...view, channels: 3 } })
    .resize(size.width, size.height, { fit: "fill" })
    .toBuffer();
  const heat = await drawHeat(map, size);
  return await sharp(picture, { raw: { ...size, channels: 3 } })
    .composite([{ input: heat, raw: { ...size, channels: 4 } }])
    .removeAlpha()
    .png()
    .toBuffer();
}

/** What the model saw in more pixels: whole multiples, so that the crop stays where it was. */
function viewOf(preprocess: Preprocess): { readonly view: Size; readonly larger: (size: Size) => Size } {
  const seen = preprocess.crop ?? preprocess;
  const scale = Math.max(1, Math.floor(longestSide / Math.max(seen.width, seen.height)));
  const larger = ({ width, height }: Size): Size => ({ width: width * scale, height: height * scale });
  return { view: larger(seen), larger };
}

function fitInside({ width, height }: Size): Size {
  const factor = longestSide / Math.max(width, height);
  return { width: Math.max(1, Math.round(width * factor)), height: Math.max(1, Math.round(height * factor)) };
}

/** The map as RGBA [height,width,4] of the given size. */
async function drawHeat(map: Size & { readonly values: Float32Array }, size: Size): Promise<Buffer> {
  const largest = map.values.reduce((most, value) => Math.max(most, value), 0);
  const levels = Uint8Array.from(map.values, (value) => (largest > 0 ? (255 * Math.max(0, value)) / largest : 0));
  const { data, info } = await sharp(levels, { raw: { width: map.width, height: map.height, channels: 1 } })
    .resize(size.width, size.height, { fit: "fill", kernel: "cubic" })
    .raw()
    .toBuffer({ resolveWithObject: true });
  const table = Array.from({ length: 256 }, (_, level) => colourAt(level / 255));
  const rgba = Buffer.alloc(size.width * size.height * 4);
  for (let i = 0; i < size.width * size.height; i++) rgba.set(table[data[i * info.channels] as number] as number[], i * 4);
  return rgba;
}

function colourAt(level: number): number[] {
  const above = Math.max(
    1,
    colours.findIndex(([position]) => position >= level),
  );
  const [from, to] = [colours[above - 1] as readonly number[], colours[above] as readonly number[]];
  const share = (level - (from[0] as number)) / ((to[0] as number) - (from[0] as number));
  const mix = (k: number): number => (from[k] as number) + share * ((to[k] as number) - (from[k] as number));
  return [mix(1), mix(2), mix(3), 255 * mix(4)].map(Math.round);
}
