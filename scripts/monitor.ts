/**
 * How often the monitor cries wolf, and what it misses: `npm run long:monitor -- PROJECT [--model BUNDLE] [--pictures N] [--windows N]`,
 * where PROJECT is a folder with data/raw and data/processed. Prints the tables of docs/monitoring.md.
 *
 * False alarms: windows drawn at random from the test split, whose pictures neither the training nor the reference used.
 * Power: blur, noise, JPEG and darkness, each as strong as costs 0.5, 3 and 7 points of accuracy on the validation split, then applied to
 * pictures of the test split; and nine pictures of one class to one of another. About half an hour on two cores for 1,000 pictures.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import sharp, { type Sharp } from "sharp";
import { defaultImageLimits } from "../src/image/check-image.ts";
import { preprocessImage } from "../src/image/preprocess-image.ts";
import { estimateStatistics } from "../src/image/statistics.ts";
import { loadBundle, shortDigest } from "../src/model/bundle.ts";
import { placeInSpace, readFeatureSpace, readReferencePlaces } from "../src/model/feature-space.ts";
import type { MonitoredAnswer } from "../src/monitor/answer.ts";
import { monitoredModel, type MonitoredModel } from "../src/monitor/monitored-model.ts";
import { monitorWindow, type MonitorReport } from "../src/monitor/report.ts";
import { Random } from "../src/random.ts";
import { startInference } from "../src/runtime/inference.ts";

const { values, positionals } = parseArgs({
  options: {
    model: { type: "string", default: join(import.meta.dirname, "..", "models", "cats-dogs") },
    pictures: { type: "string", default: "1000" },
    windows: { type: "string", default: "1000" },
  },
  allowPositionals: true,
});
const [project = "."] = positionals;
const [pictureCount, windowCount] = [Number(values.pictures), Number(values.windows)];
/** Fewer are enough to choose a strength. */
const strengthPictures = Math.min(600, pictureCount);

interface Pixels {
  readonly data: Buffer;
  readonly width: number;
  readonly height: number;
  readonly index: number;
}

interface Alteration {
  readonly name: string;
  /** From weak to strong. */
  readonly strengths: readonly number[];
  readonly encode: (pixels: Pixels, strength: number) => Promise<Buffer>;
}

const image = ({ data, width, height }: Pixels): Sharp => sharp(data, { raw: { width, height, channels: 3 } });
/** Full colour resolution: nothing is lost here but what the strength says. */
const jpeg = async (picture: Sharp, quality = 95): Promise<Buffer> =>
  await picture.jpeg({ quality, chromaSubsampling: "4:4:4" }).toBuffer();

const alterations: readonly Alteration[] = [
  { name: "blur (sigma, pixels)", strengths: [0.8, 1.5, 2.2, 3, 4, 5.5], encode: async (pixels, s) => await jpeg(image(pixels).blur(s)) },
  {
    name: "noise (sigma, of 255)",
    strengths: [12, 25, 40, 60, 85, 115],
    encode: async (pixels, s) => await jpeg(image(addNoise(pixels, s))),
  },
  {
    name: "JPEG (100 - quality)",
    strengths: [80, 88, 92, 94, 96, 98],
    encode: async (pixels, s) => await jpeg(image(pixels), Math.round(100 - s)),
  },
  {
    name: "darkness (factor 1 / x)",
    strengths: [2, 4, 8, 12, 20, 32],
    encode: async (pixels, s) => await jpeg(image(pixels).linear(1 / s, 0)),
  },
];

/** The same noise for a picture in every run. */
function addNoise(pixels: Pixels, sigma: number): Pixels {
  const random = new Random(42, pixels.index);
  const data = Buffer.from(pixels.data);
  for (let i = 0; i < data.length; i++) data[i] = Math.min(255, Math.max(0, Math.round((data[i] as number) + sigma * random.normal())));
  return { ...pixels, data };
}

const bundle = await loadBundle(values.model);
const { manifest } = bundle;
const model: MonitoredModel = monitoredModel(shortDigest(bundle), bundle, await readReferencePlaces(bundle));
const space = await readFeatureSpace(bundle);
const size = manifest.preprocess.crop ?? manifest.preprocess;
const inference = await startInference(bundle.model, { imageShape: [size.height, size.width] });

interface Row {
  readonly path: string;
  readonly label: string;
}

/** Rows of a split, evenly spaced, at most `most`. */
async function rowsOf(split: "val" | "test", most: number): Promise<Row[]> {
  const index = JSON.parse(await readFile(join(project, "data", "processed", "index.json"), "utf8")) as {
    readonly splits: Readonly<Record<string, { readonly rows: readonly (readonly [sha256: string, label: string])[] }>>;
  };
  const wanted = new Set(index.splits[split]?.rows.map(([sha256]) => sha256));
  const lines = (await readFile(join(project, "data", "raw", "manifest.jsonl"), "utf8")).trim().split("\n");
  const rows = lines.map((line) => JSON.parse(line) as Row & { readonly sha256: string }).filter(({ sha256 }) => wanted.has(sha256));
  const count = Math.min(most, rows.length);
  return Array.from({ length: count }, (_, i) => rows[Math.floor((i * rows.length) / count)] as Row);
}

/** What the model says to each picture, as the service would store it, with feedback for all. */
async function answersTo(rows: readonly Row[], title: string, encode?: (pixels: Pixels) => Promise<Buffer>): Promise<MonitoredAnswer[]> {
  const answers: MonitoredAnswer[] = [];
  for (const [index, { path, label: truth }] of rows.entries()) {
    const bytes = await readFile(join(project, "data", "raw", path));
    const encoded = encode === undefined ? bytes : await encode(await decode(bytes, index));
    const pixels = await preprocessImage(encoded, manifest.preprocess, defaultImageLimits);
    const { probabilities, features } = await inference.run(pixels, 1, { features: true });
    const place = space && features ? placeInSpace(space, features) : { outlierScore: null, embedding: null };
    const confidence = Math.max(...probabilities);
    const label = manifest.labels[probabilities.indexOf(confidence)] as string;
    const statistics = estimateStatistics(pixels, size.width, size.height);
    answers.push({ atMs: index, label, confidence, reason: null, statistics, ...place, truth });
    if (index % 50 === 0) process.stderr.write(`\r${title}: ${index} of ${rows.length} `.padEnd(79));
  }
  process.stderr.write(`\r${"".padEnd(79)}\r`);
  return answers;
}

async function decode(bytes: Buffer, index: number): Promise<Pixels> {
  const { data, info } = await sharp(bytes, { autoOrient: true })
    .flatten({ background: "#ffffff" })
    .toColourspace("srgb")
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  if (info.channels === 3) return { data, width: info.width, height: info.height, index };
  const grey = sharp(data, { raw: { width: info.width, height: info.height, channels: info.channels } }).toColourspace("srgb");
  return { data: await grey.raw().toBuffer(), width: info.width, height: info.height, index };
}

const accuracyOf = (answers: readonly MonitoredAnswer[]): number =>
  answers.filter(({ label, truth }) => label === truth).length / answers.length;

/** `n` different ones of them. */
function draw(answers: readonly MonitoredAnswer[], n: number, seed: number): MonitoredAnswer[] {
  return Array.from(new Random(25, seed).permutation(answers.length).subarray(0, n), (i) => answers[i] as MonitoredAnswer);
}

function windows(answers: readonly MonitoredAnswer[], n: number): MonitorReport[] {
  return Array.from({ length: windowCount }, (_, i) => monitorWindow(draw(answers, n, i), model));
}

const share = (reports: readonly MonitorReport[], counts: (report: MonitorReport) => boolean): string =>
  `${((100 * reports.filter(counts).length) / reports.length).toFixed(1)} %`;
const points = (difference: number): string => (100 * difference).toFixed(1);

/** The strength, between those that were tried, at which accuracy falls by `cost` on the validation split; the strongest where none costs as much. */
function strengthFor(cost: number, tried: readonly { readonly strength: number; readonly cost: number }[]): number {
  let before = { strength: 0, cost: 0 };
  for (const now of tried) {
    if (now.cost >= cost) return before.strength + ((now.strength - before.strength) * (cost - before.cost)) / (now.cost - before.cost);
    before = now;
  }
  return before.strength;
}

const plain = await answersTo(await rowsOf("test", Infinity), "test split");
console.log(`\nmodel ${manifest.name} ${model.version}, ${windowCount} windows each, of the test split (${plain.length} pictures)\n`);
console.log("| answers in the window | ok | changed | drift (false alarms) |\n|---:|---:|---:|---:|");
for (const n of [50, 200, 1000]) {
  const reports = windows(plain, n);
  const [ok, changed, drift] = ["ok", "changed", "drift"].map((verdict) => share(reports, (report) => report.drift.verdict === verdict));
  console.log(`| ${n} | ${ok} | ${changed} | ${drift} |`);
}

const validation = await rowsOf("val", strengthPictures);
const base = accuracyOf(await answersTo(validation, "validation split"));
const tested = await rowsOf("test", pictureCount);
const unaltered = accuracyOf(await answersTo(tested, "test split"));
console.log(
  `\n| alteration | strength | costs, points | ok | changed | drift | estimated - true accuracy of 500, points (largest of 95 %) | trusted | unknown |`,
);
console.log("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
function report(name: string, strength: string, answers: readonly MonitoredAnswer[]): void {
  const reports = windows(answers, 300);
  const [ok, changed, drift] = ["ok", "changed", "drift"].map((verdict) => share(reports, ({ drift: found }) => found.verdict === verdict));
  const estimates = windows(answers, 500);
  const errors = estimates
    .map(({ estimatedAccuracy: estimated, liveAccuracy: live }) => Math.abs((estimated?.estimate ?? 0) - (live.estimate ?? 0)))
    .toSorted((a, b) => a - b);
  const largest = errors[Math.floor(0.95 * errors.length)] ?? 0;
  const trusted = share(estimates, ({ estimatedAccuracy: estimated }) => estimated?.trusted === true);
  console.log(
    `| ${name} | ${strength} | ${points(unaltered - accuracyOf(answers))} | ${ok} | ${changed} | ${drift} | ${points(largest)} | ${trusted} | ${points(monitorWindow(answers, model).unknownShare ?? 0)} % |`,
  );
}
report("none", "", await answersTo(tested, "test split"));
for (const { name, strengths, encode } of alterations) {
  const tried: { strength: number; cost: number; expected: number }[] = [];
  for (const strength of strengths) {
    const altered = await answersTo(validation, `${name} ${strength}`, async (pixels) => await encode(pixels, strength));
    const cost = base - accuracyOf(altered);
    const { estimatedAccuracy: estimated, reference } = monitorWindow(altered, model);
    tried.push({ strength, cost, expected: (reference?.accuracy ?? 0) - (estimated?.estimate ?? 0) });
    if (cost > 0.1) break;
  }
  const costs = tried.map(({ strength, cost, expected }) => `${strength} costs ${points(cost)}, expected ${points(expected)}`);
  console.error(`${name} on the validation split: ${costs.join("; ")}`);
  for (const cost of [0.005, 0.03, 0.07]) {
    const strength = strengthFor(cost, tried);
    report(name, strength.toFixed(1), await answersTo(tested, `${name} ${strength}`, async (pixels) => await encode(pixels, strength)));
  }
}
const [first = ""] = manifest.labels;
const many = plain.filter(({ truth }) => truth === first);
const few = plain.filter(({ truth }) => truth !== first);
report(`nine of ten are ${first}`, "", [...many, ...few.slice(0, Math.round(many.length / 9))]);
await inference.close();
