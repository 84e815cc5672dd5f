import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { randomArray } from "./random-array.ts";

/** Five patterns that a small network tells apart, with how many pictures each class has: imbalanced on purpose. */
export const PATTERN_COUNTS: Readonly<Record<string, number>> = { checks: 36, disc: 14, "polka dots": 22, rows: 28, columns: 18 };

export type PictureKind = "rgb" | "gray" | "rgba";

/** One picture of a pattern as SVG: size, scale, colours and place differ for each `variant`. */
function drawPattern(pattern: string, variant: number, kind: PictureKind): string {
  const random = randomArray(40, variant * 31 + pattern.length * 7 + 1, 0, 1);
  const [a = 0, b = 0, c = 0, d = 0, e = 0] = random;
  const [width, height] = [Math.round(50 + 40 * a), Math.round(50 + 40 * b)];
  const colour = (hue: number, light: number): string =>
    kind === "gray" ? `hsl(0,0%,${light}%)` : `hsl(${Math.round(hue * 360)},60%,${light}%)`;
  const ink = colour(c, 20 + 15 * e);
  const step = 10 + Math.round(4 * d);
  const shapes: Record<string, string> = {
    checks: `<path d="M0 0h${step}v${step}h${step}v${step}h${-step}v${-step}h${-step}z" fill="${ink}"/>`,
    "polka dots": `<circle cx="${step}" cy="${step}" r="${step * 0.45}" fill="${ink}"/>`,
    rows: `<rect width="${2 * step}" height="${step}" fill="${ink}"/>`,
    columns: `<rect width="${step}" height="${2 * step}" fill="${ink}"/>`,
  };
  const cell = shapes[pattern];
  const figure =
    cell === undefined
      ? `<circle cx="${width * (0.4 + 0.2 * c)}" cy="${height * (0.4 + 0.2 * d)}" r="${Math.min(width, height) * 0.36}" fill="${ink}"/>`
      : `<defs><pattern id="p" width="${2 * step}" height="${2 * step}" patternUnits="userSpaceOnUse" x="${step * e}" y="${step * c}">${cell}</pattern></defs><rect width="100%" height="100%" fill="url(#p)"/>`;
  // Clouds make every picture its own: without them all rows would be near duplicates of each other.
  const clouds = Array.from({ length: 8 }, (_, i) => {
    const [x = 0, y = 0, r = 0, light = 0] = random.slice(8 + 4 * i, 12 + 4 * i);
    const place = `cx="${Math.round(x * width)}" cy="${Math.round(y * height)}" r="${Math.round(6 + 14 * r)}"`;
    return `<circle ${place} fill="${colour(light, light > 0.5 ? 90 : 15)}" fill-opacity="0.3"/>`;
  }).join("");
  // An RGBA picture is transparent where the others have paper.
  const paper = kind === "rgba" ? "" : `<rect width="100%" height="100%" fill="${colour(d, 85)}"/>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${paper}${figure}${clouds}</svg>`;
}

/** A picture file of one of the patterns: RGB as JPEG, gray (one channel) and RGBA as PNG. */
export async function patternPicture(pattern: string, variant: number, kind: PictureKind): Promise<Buffer> {
  const image = sharp(Buffer.from(drawPattern(pattern, variant, kind)));
  if (kind === "rgb") return await image.flatten({ background: "white" }).jpeg({ quality: 90 }).toBuffer();
  if (kind === "gray") return await image.flatten({ background: "white" }).toColourspace("b-w").png().toBuffer();
  return await image.ensureAlpha().png().toBuffer();
}

/** Draws the classes into `dir`, by default all five, one folder each; every third picture is gray, every third RGBA. Returns how many. */
export async function writePatternSet(dir: string, patterns: readonly string[] = Object.keys(PATTERN_COUNTS)): Promise<number> {
  let count = 0;
  for (const pattern of patterns) {
    const pictures = PATTERN_COUNTS[pattern] ?? 0;
    await mkdir(join(dir, pattern), { recursive: true });
    for (let i = 0; i < pictures; i++) {
      const kind = (["rgb", "gray", "rgba"] as const)[i % 3] ?? "rgb";
      await writeFile(join(dir, pattern, `${i}.${kind === "rgb" ? "jpg" : "png"}`), await patternPicture(pattern, i, kind));
      count++;
    }
  }
  return count;
}
