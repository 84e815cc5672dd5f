/**
 * How models do on pictures like those of other cameras, as far as that can be imitated: `npm run long:shifts -- PROJECT [MODEL...]`,
 * where PROJECT is a folder with data/raw and data/processed (default: the working directory) and MODEL a bundle (default:
 * models/cats-dogs). Alters every picture of the validation split in one way at a time, evaluates the models on the altered
 * ones, and prints the table of docs/accuracy.md. Not the test split, because what is seen here chooses the next recipe.
 * About four minutes a model for 2,292 pictures; `--only noise,JPEG` leaves out the alterations whose title has none of these.
 */
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import sharp, { type Sharp } from "sharp";
import { Random } from "../src/random.ts";

const root = join(import.meta.dirname, "..");
const { values, positionals } = parseArgs({ options: { only: { type: "string", default: "" } }, allowPositionals: true });
const [project = ".", ...named] = positionals;
const wanted = values.only.split(",");
const models = named.length > 0 ? named : [join(root, "models", "cats-dogs")];
const middleGrey = { r: 128, g: 128, b: 128 };

interface Picture {
  readonly pipeline: Sharp;
  readonly width: number;
  readonly height: number;
  readonly index: number;
}

/** What is done to a picture, and its name in the table. The first is the one to compare with. */
const shifts: readonly (readonly [title: string, alter: (picture: Picture) => Sharp | Promise<Sharp>, quality?: number])[] = [
  ["as they are, stored again", ({ pipeline }) => pipeline],
  ["half as wide and high", ({ pipeline, width, height }) => pipeline.resize(half(width), half(height), { fit: "fill" })],
  ["blurred, sigma 1.5 pixels", ({ pipeline }) => pipeline.blur(1.5)],
  ["noise, sigma 25 of 255", noisy],
  ["JPEG quality 10", ({ pipeline }) => pipeline, 10],
  ["half as bright", ({ pipeline }) => pipeline.linear(0.5, 0)],
  ["half as bright again", ({ pipeline }) => pipeline.linear(1.5, 0)],
  ["half the contrast", ({ pipeline }) => pipeline.linear(0.5, 64)],
  ["warm light: red 1.2, blue 0.7", ({ pipeline }) => pipeline.linear([1.2, 1, 0.7], [0, 0, 0])],
  ["cold light: red 0.7, blue 1.2", ({ pipeline }) => pipeline.linear([0.7, 1, 1.2], [0, 0, 0])],
  ["without colour", ({ pipeline }) => pipeline.grayscale()],
  ["turned by 15 degrees, corners grey", ({ pipeline }) => pipeline.rotate(15, { background: middleGrey })],
  ["the middle 70 % of width and height", middle],
  ["in a grey frame, a quarter on each side", framed],
];

const half = (size: number): number => Math.max(1, Math.round(size / 2));

function middle({ pipeline, width, height }: Picture): Sharp {
  const [w, h] = [Math.max(1, Math.round(0.7 * width)), Math.max(1, Math.round(0.7 * height))];
  return pipeline.extract({ left: Math.floor((width - w) / 2), top: Math.floor((height - h) / 2), width: w, height: h });
}

function framed({ pipeline, width, height }: Picture): Sharp {
  const [x, y] = [Math.round(width / 4), Math.round(height / 4)];
  return pipeline.extend({ left: x, right: x, top: y, bottom: y, background: middleGrey });
}

/** The same noise for a picture in every run. */
async function noisy({ pipeline, width, height, index }: Picture): Promise<Sharp> {
  const random = new Random(42, index);
  const pixels = await pipeline.raw().toBuffer();
  for (let i = 0; i < pixels.length; i++) pixels[i] = Math.min(255, Math.max(0, Math.round((pixels[i] as number) + 25 * random.normal())));
  return sharp(pixels, { raw: { width, height, channels: 3 } });
}

const rows = (await readFile(join(project, "data", "raw", "manifest.jsonl"), "utf8")).trim().split("\n");
const index = JSON.parse(await readFile(join(project, "data", "processed", "index.json"), "utf8")) as {
  readonly splits: { readonly val: { readonly rows: readonly (readonly [sha256: string, label: string])[] } };
};
const validated = new Set(index.splits.val.rows.map(([sha256]) => sha256));
const pictures = rows
  .map((row) => JSON.parse(row) as { readonly path: string; readonly label: string; readonly sha256: string })
  .filter(({ sha256 }) => validated.has(sha256));

const folder = await mkdtemp(join(tmpdir(), "serval-shifts-"));
try {
  const table = [
    `| ${pictures.length} pictures of the validation split | ${models.join(" | ")} |`,
    `|---|${models.map(() => "---:|").join("")}`,
  ];
  for (const [title, alter, quality = 95] of shifts.filter(([name]) => wanted.some((part) => name.includes(part)))) {
    const altered = join(folder, "altered");
    for (const [at, { path, label }] of pictures.entries()) {
      const { data, info } = await sharp(join(project, "data", "raw", path), { autoOrient: true })
        .flatten({ background: "#ffffff" })
        .toColourspace("srgb")
        .raw()
        .toBuffer({ resolveWithObject: true });
      const { width, height, channels } = info;
      const colour = sharp(data, { raw: { width, height, channels } }).toColourspace("srgb").removeAlpha();
      const pixels = await colour.raw().toBuffer();
      const picture = { pipeline: sharp(pixels, { raw: { width, height, channels: 3 } }), width, height, index: at };
      await mkdir(join(altered, label), { recursive: true });
      // Full colour resolution: nothing is lost here but what the quality says.
      await (await alter(picture)).jpeg({ quality, chromaSubsampling: "4:4:4" }).toFile(join(altered, label, `${at}.jpg`));
      if (at % 200 === 0) process.stderr.write(`\r${title}: ${at} of ${pictures.length} `.padEnd(79));
    }
    table.push(`| ${title} | ${models.map((model) => accuracy(model, altered)).join(" | ")} |`);
    await rm(altered, { recursive: true });
  }
  process.stderr.write(`\r${"".padEnd(79)}\r`);
  console.log(table.join("\n"));
} finally {
  await rm(folder, { recursive: true, force: true });
}

function accuracy(model: string, data: string): string {
  const verb = ["evaluate", "--json", "--model", model, "--data", data, "--out", join(folder, "evaluation")];
  const text = execFileSync(process.execPath, [join(root, "src/cli/main.ts"), ...verb], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    maxBuffer: 64 * 1024 * 1024,
  });
  return `${(100 * (JSON.parse(text) as { metrics: { accuracy: number } }).metrics.accuracy).toFixed(2)} %`;
}
