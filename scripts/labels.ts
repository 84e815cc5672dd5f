/**
 * How well `serval data check --labels` finds wrong labels: plants flips in a project's labels, and counts what is found.
 *
 *     npm run long:labels -- PROJECT [--rate 0.03] [--seed 1] [--peer PYTHON]
 *
 * PROJECT is a working folder whose data/processed has pictures of 224x224 pixels. Features are computed once and kept in its .serval; nothing else of it is
 * changed. Symmetric flips change this share of all labels, asymmetric ones this share of the first class's into the second. With --peer, a Python that has cleanlab, the
 * order is compared with cleanlab's from the same probabilities.
 */
import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { loadParams } from "../src/config/params.ts";
import { confidences, findWrongLabels, type HeldOutAnswers } from "../src/quality/wrong-labels.ts";
import { Random } from "../src/random.ts";
import { percent } from "../src/text.ts";
import { answerHeldOut, loadCheckedSet } from "../src/workflows/data/held-out-answers.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { rate: { type: "string", default: "0.03" }, seed: { type: "string", default: "1" }, peer: { type: "string" } },
});
const cwd = resolve(positionals[0] ?? ".");
const set = await loadCheckedSet({ cwd, params: await loadParams(cwd) });
const { labels: classes } = set.shards;
const truth = set.labels;
const rate = Number(values.rate);

/** Rows whose labels are made wrong, each with its wrong label. */
function plant(kind: "none" | "symmetric" | "asymmetric"): Map<number, number> {
  if (kind === "none") return new Map();
  const random = new Random(Number(values.seed), 31);
  const rows = Array.from(random.permutation(truth.length)).filter((row) => kind === "symmetric" || truth[row] === 0);
  const wrong = (label: number): number => (kind === "asymmetric" ? 1 : (label + 1 + random.below(classes.length - 1)) % classes.length);
  return new Map(rows.slice(0, Math.round(rate * rows.length)).map((row) => [row, wrong(truth[row] as number)]));
}

console.log("| flips | planted | precision at that number | named | precision | recall | agreement | seconds | Spearman with cleanlab |");
console.log("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
for (const kind of ["none", "symmetric", "asymmetric"] as const) {
  const startedAt = performance.now();
  const flips = plant(kind);
  const labels = truth.map((label, row) => flips.get(row) ?? label);
  const { answers, agreement } = await answerHeldOut({ ...set, labels });
  const seconds = (performance.now() - startedAt) / 1000;
  const quality = confidences(answers);
  const first = Array.from(quality.keys())
    .sort((a, b) => (quality[a] as number) - (quality[b] as number))
    .slice(0, flips.size);
  const named = findWrongLabels(answers).map(({ row }) => row);
  const hits = named.filter((row) => flips.has(row)).length;
  const share = (part: number, whole: number): string => (whole === 0 ? "" : percent(part / whole));
  const cells = [
    kind,
    flips.size,
    share(first.filter((row) => flips.has(row)).length, flips.size),
    named.length,
    flips.size === 0 ? "" : share(hits, named.length),
    share(hits, flips.size),
    percent(agreement),
    seconds.toFixed(0),
    values.peer === undefined ? "" : (await compareWithPeer(values.peer, answers)).toFixed(4),
  ];
  console.log(`| ${cells.join(" | ")} |`);
}
set.shards.close();

/** Spearman's rank correlation of our order with cleanlab's. */
async function compareWithPeer(python: string, { labels, probabilities, classes: count }: HeldOutAnswers): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "serval-labels-"));
  try {
    await writeFile(join(folder, "labels.bin"), new Uint8Array(Int32Array.from(labels).buffer));
    await writeFile(join(folder, "probabilities.bin"), new Uint8Array(probabilities.buffer));
    const script = join(import.meta.dirname, "../tests/interop/cleanlab_peer.py");
    const text = execFileSync(python, [script, folder, String(count)], { encoding: "utf8", maxBuffer: 1 << 28 });
    const { quality } = JSON.parse(text) as { quality: number[] };
    return correlation(ranksOf(confidences({ labels, probabilities, classes: count })), ranksOf(quality));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Ranks of numbers; equal ones share the mean of their places. */
function ranksOf(numbers: ArrayLike<number>): Float64Array {
  const order = Array.from(numbers, (_, k) => k).sort((a, b) => (numbers[a] as number) - (numbers[b] as number));
  const ranks = new Float64Array(numbers.length);
  for (let start = 0; start < order.length;) {
    let end = start + 1;
    while (end < order.length && numbers[order[end] as number] === numbers[order[start] as number]) end++;
    for (let k = start; k < end; k++) ranks[order[k] as number] = (start + end - 1) / 2;
    start = end;
  }
  return ranks;
}

function correlation(a: Float64Array, b: Float64Array): number {
  const mean = (a.length - 1) / 2;
  let [product, left, right] = [0, 0, 0];
  for (let k = 0; k < a.length; k++) {
    const [x, y] = [(a[k] as number) - mean, (b[k] as number) - mean];
    product += x * y;
    left += x * x;
    right += y * y;
  }
  return product / Math.sqrt(left * right);
}
