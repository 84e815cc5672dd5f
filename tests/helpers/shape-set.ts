import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ingest } from "../../src/data/ingest.ts";
import { prepareShards } from "../../src/data/prepare.ts";
import { openFolder } from "../../src/data/sources/folder.ts";
import { renderSvg } from "../../src/image/render.ts";
import { randomArray } from "./random-array.ts";

/** A star-shaped outline around the origin: a radius of up to 1 for each of the angles, which go round once. */
function outline(radii: readonly number[]): string {
  const points = radii.map((radius, k) => {
    const angle = (2 * Math.PI * k) / radii.length;
    return `${(radius * Math.cos(angle)).toFixed(3)},${(radius * Math.sin(angle)).toFixed(3)}`;
  });
  return `<polygon points="${points.join(" ")}"/>`;
}

export type Shape = "disc" | "square" | "star" | "ring" | "bars" | "triangle" | "cross";

/** Figures of radius 1 that colour, place, size and turn say nothing about. */
const FIGURES: Readonly<Record<Shape, string>> = {
  disc: `<circle r="0.9"/>`,
  square: outline([1, 1, 1, 1]),
  star: outline([1, 0.4, 1, 0.4, 1, 0.4, 1, 0.4, 1, 0.4]),
  ring: `<path fill-rule="evenodd" d="M-.95 0a.95.95 0 1 0 1.9 0a.95.95 0 1 0-1.9 0zM-.5 0a.5.5 0 1 0 1 0a.5.5 0 1 0-1 0z"/>`,
  bars: `<path d="M-.9-.8h1.8v.35h-1.8zM-.9-.17h1.8v.35h-1.8zM-.9.45h1.8v.35h-1.8z"/>`,
  triangle: outline([1, 1, 1]),
  cross: `<path d="M-.3-1h.6v.7h.7v.6h-.7v.7h-.6v-.7h-.7v-.6h.7z"/>`,
};

async function drawShape(shape: Shape, variant: number): Promise<Buffer> {
  const random = randomArray(32, variant * 97 + shape.length * 7 + shape.charCodeAt(0), 0, 1);
  let at = 0;
  const draw = (low: number, high: number): number => low + (high - low) * (random[at++] as number);
  const dark = draw(0, 1) < 0.5;
  const colour = (light: boolean): string => `hsl(${draw(0, 360).toFixed()},60%,${(light ? draw(65, 90) : draw(15, 40)).toFixed()}%)`;
  const place = `translate(${draw(17, 31).toFixed(1)},${draw(17, 31).toFixed(1)}) rotate(${draw(0, 360).toFixed()}) scale(${draw(11, 16).toFixed(1)})`;
  const blots = Array.from(
    { length: 4 },
    () =>
      `<circle cx="${draw(0, 48).toFixed()}" cy="${draw(0, 48).toFixed()}" r="${draw(2, 6).toFixed(1)}" fill="${colour(dark)}" fill-opacity="0.5"/>`,
  );
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="48" height="48"><rect width="48" height="48" fill="${colour(dark)}"/>${blots.join("")}<g transform="${place}" fill="${colour(!dark)}">${FIGURES[shape]}</g></svg>`;
  return await renderSvg(svg, { format: "jpeg", quality: 92 });
}

export interface ShapeRepository {
  /** A working repository with data/raw and data/processed, of pictures of 32x32 pixels. */
  readonly cwd: string;
  readonly shardsDir: string;
  remove(): Promise<void>;
}

/** Draws `perClass` pictures of each shape, imports and prepares them; what `train` leaves of them is for validation. */
export async function makeShapeRepository(shapes: readonly Shape[], perClass: number, train: number): Promise<ShapeRepository> {
  const cwd = await mkdtemp(join(tmpdir(), "serval-shapes-"));
  const source = join(cwd, "pictures");
  for (const shape of shapes) {
    await mkdir(join(source, shape), { recursive: true });
    for (let i = 0; i < perClass; i++) await writeFile(join(source, shape, `${i}.jpg`), await drawShape(shape, i));
  }
  const rawDir = join(cwd, "data", "raw");
  const shardsDir = join(cwd, "data", "processed");
  await ingest(await openFolder(source), {
    outDir: rawDir,
    quarantineDir: join(cwd, "data", "quarantine"),
    journalPath: join(cwd, ".serval", "import.json"),
  });
  await prepareShards({
    rawDir,
    outDir: shardsDir,
    width: 32,
    height: 32,
    fit: "squash",
    kernel: "lanczos3",
    orient: true,
    shares: { train, val: 1 - train, test: 0 },
    seed: 42,
    dedupe: true,
  });
  return { cwd, shardsDir, remove: () => rm(cwd, { recursive: true, force: true }) };
}
