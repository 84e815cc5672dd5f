/**
 * What each part of the recipe from scratch brings: `npm run long:ablations [-- SOURCE]`, where SOURCE is a zip or folder in
 * place of the recipe's public download. Trains recipes/from-scratch on small pictures and for few epochs, once as it is and
 * once for each part with that part changed, compares them on the validation split, and prints the table of docs/notes/from-scratch.md.
 * Works in artifacts/ablations, one run folder for each try, and continues there where an earlier start of it was stopped.
 * Each try takes about eight minutes on two cores.
 */
import { copyFile, mkdir, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { readIfThere, sha256 } from "../src/files.ts";
import { readManifest } from "../src/data/manifest.ts";
import { smallestProbability } from "../src/evaluate/metrics.ts";
import { runVerb } from "./run-verb.ts";

const root = join(import.meta.dirname, "..");
const folder = join(root, "artifacts", "ablations");
const [source] = process.argv.slice(2);

/** In place of the recipe's epochs, which are many, and end on pictures of 128 pixels. */
const small = ["prepare.width=64", "prepare.height=64", "train.cropSize=64", "train.sizes=[64]", "train.epochs=10"];

/** What is changed, and its name in the table. The first two are both the recipe: they show how much chance alone changes. */
const tries: readonly (readonly [name: string, title: string, ...overrides: string[]])[] = [
  ["recipe", "the recipe"],
  ["seed", "another seed", "train.seed=43"],
  ["no-ema", "without the moving average of the weights", "train.emaDecay=0"],
  ["no-smoothing", "without label smoothing", "train.labelSmoothing=0"],
  ["no-crops", "without random crops", "train.cropScale=1"],
  ["no-jitter", "without colour jitter", "train.colorJitter=0"],
  ["no-erasing", "without erasing", "train.erasing=0"],
  [
    "plain",
    "without all of these, and without flips",
    ...["emaDecay=0", "labelSmoothing=0", "cropScale=1", "colorJitter=0", "blur=0", "noise=0", "erasing=0", "flip=false"].map(
      (set) => `train.${set}`,
    ),
  ],
  ["mixup", "with mixup, alpha 0.2", "train.mixup=0.2"],
  ["cutmix", "with cutmix, alpha 1", "train.cutmix=1"],
  ["blur", "with a fifth of the pictures out of focus", "train.blur=0.2"],
  ["noise", "with a fifth of the pictures noisy", "train.noise=0.2"],
  ["no-flip", "without flips", "train.flip=false"],
  ["no-decay", "without weight decay", "train.weightDecay=0"],
];

await mkdir(folder, { recursive: true });
await copyFile(join(root, "recipes", "from-scratch", "params.yaml"), join(folder, "params.yaml"));
await runVerb(folder, "data", "import", ...(source === undefined ? [] : [/^[a-z0-9]+:/.test(source) ? source : resolve(source)]));
await runVerb(folder, "prepare", "--set", ...small);
// Tries of another recipe, or on other data, are not compared with those of this one.
const recipeText = await readFile(join(folder, "params.yaml"), "utf8");
const { dataVersion } = await readManifest(join(folder, "data", "raw"));
const digest = (parts: unknown): string => sha256(JSON.stringify(parts)).slice(0, 12);
const evaluations = join("evaluations", digest([recipeText, small, dataVersion]));

const rows: string[] = [];
let recipe: readonly Answer[] = [];
for (const [name, title, ...overrides] of tries) {
  const out = join(evaluations, `${name}-${digest(overrides)}`);
  const evaluated = await answersOf(out);
  if (evaluated === undefined) {
    await rm(join(folder, "artifacts", "best"), { recursive: true, force: true });
    await runVerb(folder, "train", "--set", ...small, ...overrides);
    await runVerb(folder, "evaluate", "--split", "val", "--model", join("artifacts", "best"), "--out", out);
  }
  const answers = evaluated ?? (await answersOf(out)) ?? [];
  if (name === "recipe") recipe = answers;
  rows.push(row(title, answers, recipe));
}
console.log(["| | validation accuracy | loss | loss against the recipe |", "|---|---:|---:|---:|", ...rows].join("\n"));

interface Answer {
  readonly sha256: string;
  readonly correct: boolean;
  /** Negative natural logarithm of the probability of the true class. */
  readonly loss: number;
}

/** The predictions of an evaluation folder; undefined where it does not stand yet. */
async function answersOf(out: string): Promise<readonly Answer[] | undefined> {
  const text = await readIfThere(join(folder, out, "predictions.jsonl"));
  return text
    ?.trim()
    .split("\n")
    .map((line) => {
      const { sha256, label, predicted, probabilities } = JSON.parse(line) as Prediction;
      return { sha256, correct: label === predicted, loss: -Math.log(Math.max(probabilities[label] ?? 0, smallestProbability)) };
    });
}

interface Prediction {
  readonly sha256: string;
  readonly label: string;
  readonly predicted: string;
  readonly probabilities: Readonly<Record<string, number>>;
}

/** One line of the table. The difference is taken image by image; its standard error follows. */
function row(title: string, answers: readonly Answer[], reference: readonly Answer[]): string {
  const before = new Map(reference.map(({ sha256, loss }) => [sha256, loss]));
  const differences = answers.map(({ sha256, loss }) => loss - (before.get(sha256) ?? Number.NaN));
  const difference = mean(differences);
  const error = Math.sqrt(mean(differences.map((value) => (value - difference) ** 2)) / (differences.length - 1));
  const accuracy = mean(answers.map(({ correct }) => (correct ? 1 : 0)));
  const loss = mean(answers.map((answer) => answer.loss));
  const against = answers === reference ? "" : `${difference < 0 ? "−" : "+"}${Math.abs(difference).toFixed(3)} ± ${error.toFixed(3)}`;
  return `| ${title} | ${(100 * accuracy).toFixed(2)} % | ${loss.toFixed(3)} | ${against} |`;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
