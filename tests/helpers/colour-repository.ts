import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ingest } from "../../src/data/ingest.ts";
import { prepareShards, type PrepareOptions } from "../../src/data/prepare.ts";
import { openFolder } from "../../src/data/sources/folder.ts";
import { sha256 } from "../../src/files.ts";
import { renderSvg } from "../../src/image/render.ts";
import type { Colour } from "./tiny-bundle.ts";

const hues: Readonly<Record<Colour, number>> = { red: 0, yellow: 60, green: 120, cyan: 180, blue: 240 };

/** A picture of one colour in 42 shades: as many different ones as there are variants, also to the eye of a difference hash. */
export async function shadedPicture(colour: Colour, variant: number, format: "jpeg" | "png" = "jpeg"): Promise<Buffer> {
  let state = (variant + 1) * 7919 + hues[colour];
  const shade = (): number => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return 30 + ((state >>> 16) % 40);
  };
  const cells = Array.from({ length: 42 }, (_, i) => {
    return `<rect x="${(i % 7) * 8}" y="${Math.floor(i / 7) * 8}" width="8" height="8" fill="hsl(${hues[colour]},85%,${shade()}%)"/>`;
  });
  return await renderSvg(`<svg xmlns="http://www.w3.org/2000/svg" width="56" height="48">${cells.join("")}</svg>`, { format, quality: 92 });
}

export interface ColourRepository {
  /** A working repository with data/raw and data/processed. */
  readonly cwd: string;
  /** The ImageFolder that it was imported from. */
  readonly source: string;
  /** What is on a picture, whatever its folder says, by sha256. */
  readonly colours: ReadonlyMap<string, Colour>;
  remove(): Promise<void>;
}

export interface ColourRepositoryOptions {
  /** Pictures by folder. */
  readonly counts: Readonly<Partial<Record<Colour, number>>>;
  /** Pictures drawn in another colour than their folder's name: the mistakes that a model of colours must make. */
  readonly strays?: readonly (readonly [folder: Colour, colour: Colour, count: number])[];
  readonly prepare?: Partial<PrepareOptions>;
}

/** Draws pictures into class folders, imports and prepares them, all for real. */
export async function makeColourRepository(options: ColourRepositoryOptions): Promise<ColourRepository> {
  const cwd = await mkdtemp(join(tmpdir(), "serval-colours-"));
  const source = join(cwd, "pictures");
  const colours = new Map<string, Colour>();
  const add = async (folder: Colour, colour: Colour, variant: number): Promise<void> => {
    const bytes = await shadedPicture(colour, variant);
    colours.set(sha256(bytes), colour);
    await mkdir(join(source, folder), { recursive: true });
    await writeFile(join(source, folder, `${colour}-${variant}.jpg`), bytes);
  };
  for (const [folder, count] of Object.entries(options.counts) as [Colour, number][]) {
    for (let i = 0; i < count; i++) await add(folder, folder, i);
  }
  for (const [folder, colour, count] of options.strays ?? []) for (let i = 0; i < count; i++) await add(folder, colour, 1000 + i);
  const rawDir = join(cwd, "data", "raw");
  await ingest(await openFolder(source), {
    outDir: rawDir,
    quarantineDir: join(cwd, "data", "quarantine"),
    journalPath: join(cwd, ".serval", "import.json"),
  });
  await prepareShards({
    rawDir,
    outDir: join(cwd, "data", "processed"),
    width: 20,
    height: 16,
    fit: "squash",
    kernel: "lanczos3",
    orient: true,
    shares: { train: 0.4, val: 0.2, test: 0.4 },
    seed: 42,
    dedupe: true,
    ...options.prepare,
  });
  return { cwd, source, colours, remove: () => rm(cwd, { recursive: true, force: true }) };
}
