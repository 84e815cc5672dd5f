/**
 * How long a set of many classes takes from import to evaluation, and how much memory: small drawn pictures, each step as a separate
 * process, as a user runs it.
 *
 *     npm run long:many-classes -- [--classes 1000] [--pictures 3] [--keep FOLDER]
 *
 * Prints a line for each step: seconds, seconds of a processor, and the most memory that its process held (VmHWM, read ten times a second).
 * Ends with 1 where a step fails, where all of them take more than two minutes, or where one holds 1 GB.
 */
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import sharp from "sharp";
import { Random } from "../src/random.ts";

const mostSeconds = 120;
const mostBytes = 1e9;
const main = join(import.meta.dirname, "../src/cli/main.ts");
const params = `data: {source: images}
prepare: {width: 32, height: 32}
train: {cropSize: 32, sizes: [32], epochs: 2, channels: [8, 8, 16, 16], batchSize: 8}
`;

const { values } = parseArgs({
  options: { classes: { type: "string", default: "1000" }, pictures: { type: "string", default: "3" }, keep: { type: "string" } },
});
const folder = values.keep === undefined ? await mkdtemp(join(tmpdir(), "serval-many-")) : resolve(values.keep);

/** A few soft patches of the colours of a class, in other places in each picture: otherwise all would be near duplicates. */
async function drawPicture(classIndex: number, variant: number): Promise<Buffer> {
  const [columns, rows] = [6, 5];
  const [shared, own] = [new Random(classIndex, 1), new Random(classIndex, 2 + variant)];
  const tints = Array.from({ length: 3 }, () => [shared.below(100), shared.below(100), shared.below(100)]);
  const patches = Array.from({ length: columns * rows }, () => {
    const [tint, light] = [tints[own.below(tints.length)] as number[], own.below(156)];
    return tint.map((part) => part + light);
  });
  return await sharp(Uint8Array.from(patches.flat()), { raw: { width: columns, height: rows, channels: 3 } })
    .resize(48, 40, { fit: "fill", kernel: "cubic" })
    .jpeg({ quality: 90 })
    .toBuffer();
}

async function draw(classes: number, pictures: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "params.yaml"), params);
  for (let classIndex = 0; classIndex < classes; classIndex++) {
    const dir = join(folder, "images", `n${String(classIndex).padStart(8, "0")}`);
    await mkdir(dir, { recursive: true });
    for (let i = 0; i < pictures; i++) await writeFile(join(dir, `${i}.jpg`), await drawPicture(classIndex, i));
  }
}

interface StepCost {
  readonly code: number | null;
  readonly seconds: number;
  /** Of all its threads. */
  readonly processorSeconds: number;
  readonly bytes: number;
}

async function runStep(args: readonly string[]): Promise<StepCost> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [main, ...args], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
  let [bytes, processorSeconds] = [0, 0];
  const look = async (): Promise<void> => {
    const [status, stat] = await Promise.all(["status", "stat"].map(async (name) => await readFile(`/proc/${child.pid}/${name}`, "utf8")));
    bytes = Math.max(bytes, 1024 * Number(/^VmHWM:\s+(\d+) kB/m.exec(status ?? "")?.[1] ?? 0));
    const fields = (stat ?? "").replace(/^.*\) /, "").split(" ");
    processorSeconds = (Number(fields[11]) + Number(fields[12])) / 100;
  };
  // Until the process has ended.
  const watch = setInterval(() => void look().catch(() => undefined), 100);
  const code = await new Promise<number | null>((done) => child.once("exit", done));
  clearInterval(watch);
  return { code, seconds: (performance.now() - startedAt) / 1000, processorSeconds, bytes };
}

try {
  await draw(Number(values.classes), Number(values.pictures));
  let total = 0;
  let good = true;
  for (const args of [["data", "import"], ["prepare"], ["train"], ["evaluate"]]) {
    const { code, seconds, processorSeconds, bytes } = await runStep(args);
    total += seconds;
    good &&= code === 0 && bytes < mostBytes;
    const figures = [
      `${seconds.toFixed(1).padStart(6)} s`,
      `${processorSeconds.toFixed(1)} of a processor`,
      `${Math.round(bytes / 1e6)} MB`,
    ];
    console.log(`serval ${args.join(" ").padEnd(12)} ${figures.join("  ")}  exit ${code}`);
    if (code !== 0) break;
  }
  console.log(`together            ${total.toFixed(1).padStart(6)} s`);
  process.exitCode = good && total <= mostSeconds ? 0 : 1;
} finally {
  if (values.keep === undefined) await rm(folder, { recursive: true, force: true });
}
