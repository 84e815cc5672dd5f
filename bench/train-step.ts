/**
 * One training step (forward, backward, AdamW): Serval's two lowerings against PyTorch, in turn on the same cores. PyTorch
 * runs in both memory layouts, each as it comes and with a malloc that keeps large blocks, and compiled. It is fed
 * normalised floats; Serval's step begins with bytes and includes the normalisation.
 *
 *     npm run bench:train-step -- [--rows NETWORK:SIDE:BATCH,...] [--frozen] [--eager] [--threads N] [--rounds N] [--tries N] [--profile]
 *
 * The rows are networks trained from scratch (cnn4, resnet) and those that are fine-tuned as a whole (efficientnet-lite0, resnet18,
 * resnet34; there PyTorch's are timm's and torchvision's). --frozen takes the statistics of batch normalisation as they are, on both
 * sides; --eager leaves the compiled PyTorch out, which takes minutes to begin; --tries says how often at most a disturbed sample is
 * taken again. Beside the time that a step takes there is the processor time that it uses: on a machine that is shared, take one thread
 * and compare that. --profile prints, instead, where the time of Serval's step goes. The last line is one JSON object with all rows. Wants torch,
 * timm and torchvision in .venv, or in the environment of the Python that SERVAL_TEST_PYTHON names.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { BACKBONES, withClassifier } from "../src/nn/architectures/backbones.ts";
import { ARCHITECTURES } from "../src/nn/architectures/index.ts";
import { lowerGraph } from "../src/nn/lower.ts";
import { adamScalars } from "../src/nn/optimizers.ts";
import { buildTrainingStep } from "../src/nn/training-step.ts";
import { elementCount } from "../src/onnx/builder.ts";
import { encodeModel } from "../src/onnx/encode.ts";
import type { Tensor } from "../src/runtime/engine.ts";
import { onnxruntime } from "../src/runtime/onnxruntime.ts";
import { Random } from "../src/random.ts";
import { TrainingState } from "../src/train/training-state.ts";
import { describeMachine, printReport, summarize } from "./report.ts";

const { values } = parseArgs({
  options: {
    rows: {
      type: "string",
      default: "cnn4:96:32,cnn4:96:64,resnet:96:32,resnet:96:64,efficientnet-lite0:160:32,efficientnet-lite0:224:32,resnet18:160:32",
    },
    frozen: { type: "boolean", default: false },
    eager: { type: "boolean", default: false },
    threads: { type: "string", default: "2" },
    tries: { type: "string", default: "20" },
    rounds: { type: "string", default: "9" },
    profile: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds);
/** Pictures in a sample of 96 pixels: enough that a sample takes about a second. */
const pictures = 192;
const threads = Number(values.threads);

/** What is measured: a network on pictures of one size, in batches of one size. */
interface Row {
  readonly network: string;
  readonly size: number;
  readonly batchSize: number;
}

const measured: readonly Row[] = values.rows.split(",").map((text) => {
  const [network = "", size, batch] = text.split(":");
  return { network, size: Number(size), batchSize: Number(batch) };
});
const networks: Readonly<Record<string, { readonly channels: readonly number[]; readonly blocks: number }>> = {
  cnn4: { channels: [32, 64, 128, 256], blocks: 0 },
  resnet: { channels: [16, 32, 64, 128, 192], blocks: 2 },
};

interface Contestant {
  readonly name: string;
  /** Processes whose use of the cores is the contestant's own. */
  readonly pid: number;
  /** Seconds that this number of steps takes. */
  readonly steps: (count: number) => Promise<number>;
  readonly close: () => void;
}

async function serval(name: string, { network, size, batchSize }: Row, blockSize: number, profilePrefix?: string): Promise<Contestant> {
  const architecture = ARCHITECTURES[network] ?? withClassifier(BACKBONES[network]!);
  const shape = networks[network] ?? { channels: [], blocks: 0 };
  const options = { ...shape, optimizer: "adamw", momentum: 0.9, weightDecay: 0.01, classes: 2, dropout: true } as const;
  const step = buildTrainingStep(architecture, { ...options, batchSize, height: size, width: size, frozenStatistics: values.frozen });
  const model = encodeModel(lowerGraph(step.graph, { blockSize, name: network }));
  const session = await onnxruntime.createSession(model, { threads, ...(profilePrefix !== undefined && { profilePrefix }) });
  const random = new Random(1, 0);
  const state = new TrainingState(step.state);
  state.initialize(1);
  const names = new Set(step.state.map((spec) => spec.name));
  const inputs: Record<string, Tensor> = {};
  for (const [input, { dtype, shape }] of step.graph.inputs) {
    if (names.has(input)) continue;
    const data = dtype === "uint8" ? new Uint8Array(elementCount(shape)) : new Float32Array(elementCount(shape));
    if (input === "images") for (let i = 0; i < data.length; i++) data[i] = random.uniform() * 256;
    else data.fill(input === "learningRate" ? 1e-3 : 1);
    inputs[input] = { dtype, shape, data };
  }
  inputs["targets"]!.data.forEach((_, i) => (inputs["targets"]!.data[i] = i % 2));
  for (const [input, value] of Object.entries(adamScalars(1))) inputs[input]!.data[0] = value;
  return {
    name,
    pid: process.pid,
    async steps(count) {
      const started = performance.now();
      for (let i = 0; i < count; i++) {
        await session.run({ ...inputs, ...state.feeds() }, state.targets(step.state));
        state.advance(step.state);
      }
      return (performance.now() - started) / 1000;
    },
    close: () => void session.close(),
  };
}

async function torch(name: string, { network, size, batchSize }: Row, args: readonly string[], tuned: boolean): Promise<Contestant> {
  const { channels, blocks } = networks[network] ?? { channels: [0], blocks: 0 };
  const options = values.frozen ? [...args, "frozen"] : args;
  const venvPython = join(import.meta.dirname, "../.venv/bin/python");
  const python = process.env["SERVAL_TEST_PYTHON"] ?? (existsSync(venvPython) ? venvPython : "python3");
  const keepBlocks = { MALLOC_MMAP_THRESHOLD_: "4000000000", MALLOC_TRIM_THRESHOLD_: "8000000000", MALLOC_TOP_PAD_: "67108864" };
  const peer = spawn(
    python,
    [
      join(import.meta.dirname, "peers/train_step.py"),
      network,
      String(size),
      channels.join(","),
      String(blocks),
      String(threads),
      ...options,
    ],
    { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, ...(tuned && keepBlocks) } },
  );
  const lines = createInterface({ input: peer.stdout })[Symbol.asyncIterator]();
  const read = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`${name}: bench/peers/train_step.py ended; is torch in .venv?`);
    return value;
  };
  await read();
  return {
    name,
    pid: peer.pid!,
    async steps(count) {
      peer.stdin.write(`${batchSize} ${count}\n`);
      return Number(await read());
    },
    close: () => void peer.kill(),
  };
}

/** Ticks (1/100 s) that a process used, and that all did. */
function ticksOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return Number(fields[11]) + Number(fields[12]);
}
function ticksOfAll(): number {
  const [, user, nice, system, , , irq, softirq, steal] = readFileSync("/proc/stat", "utf8").split("\n")[0]!.split(/\s+/).map(Number);
  return user! + nice! + system! + irq! + softirq! + steal!;
}

/** What a step took. */
interface Sample {
  readonly seconds: number;
  /** Seconds of the processor that the contestant's process used. */
  readonly processor: number;
}

/** The same number of steps of each contestant, in turn; a sample during which others used the cores is taken again. */
async function compete(contestants: readonly Contestant[], { size, batchSize }: Row): Promise<{ samples: Sample[][]; discarded: number }> {
  const count = Math.max(2, Math.round((pictures / batchSize) * (96 / size) ** 2));
  const pids = new Set(contestants.map(({ pid }) => pid));
  const ticksOfOthers = (): number => ticksOfAll() - [...pids].reduce((sum, pid) => sum + ticksOf(pid), 0);
  for (const { steps } of contestants) await steps(2);
  const samples = contestants.map((): Sample[] => []);
  let discarded = 0;
  for (let round = 0; round < rounds; round++) {
    for (const [i, { pid, steps }] of contestants.entries()) {
      for (let tries = 0; ; tries++) {
        // Threads of the previous one spin for a moment.
        await delay(150);
        const [others, own] = [ticksOfOthers(), ticksOf(pid)];
        const seconds = await steps(count);
        const processor = (ticksOf(pid) - own) / 100;
        if ((ticksOfOthers() - others) / 100 > 0.04 * threads * seconds && tries < Number(values.tries)) {
          discarded++;
          continue;
        }
        samples[i]!.push({ seconds: seconds / count, processor: processor / count });
        break;
      }
    }
    process.stderr.write(`round ${round + 1} of ${rounds}\n`);
  }
  return { samples, discarded };
}

async function profile(row: Row): Promise<void> {
  const { network, size, batchSize } = row;
  const folder = mkdtempSync(join(tmpdir(), "serval-profile-"));
  try {
    const contestant = await serval("profile", row, await onnxruntime.probeBlockSize(), join(folder, "step"));
    await contestant.steps(2);
    const steps = 8;
    await contestant.steps(steps);
    contestant.close();
    await delay(500);
    const [file] = readdirSync(folder);
    const events = JSON.parse(readFileSync(join(folder, file!), "utf8")) as {
      name: string;
      cat: string;
      dur: number;
      args?: Record<string, string>;
    }[];
    const kernels = events.filter(({ cat, name }) => cat === "Node" && name.endsWith("_kernel_time"));
    const perNode = new Map<string, { op: string; shape: string; total: number; count: number }>();
    for (const { name, dur, args } of kernels) {
      const shapes = JSON.stringify(args?.["input_type_shape"] ?? "").replaceAll(/\\?"|float|[{}]/g, "");
      const entry = perNode.get(name) ?? { op: args?.["op_name"] ?? "", shape: shapes, total: 0, count: 0 };
      entry.total += dur / 1000;
      entry.count++;
      perNode.set(name, entry);
    }
    const nodes = [...perNode].map(([name, { op, shape, total, count }]) => ({
      name: name.replace("_kernel_time", ""),
      op,
      shape,
      ms: total / count,
    }));
    const byOp = Map.groupBy(nodes, ({ op }) => op);
    const all = nodes.reduce((sum, { ms }) => sum + ms, 0);
    const rows = [...byOp].map(([op, group]) => ({ op, count: group.length, ms: group.reduce((sum, { ms }) => sum + ms, 0) }));
    rows.sort((a, b) => b.ms - a.ms);
    nodes.sort((a, b) => b.ms - a.ms);
    const table = rows.slice(0, 15).map(({ op, count, ms }) => [op, String(count), ms.toFixed(1), `${((100 * ms) / all).toFixed(1)} %`]);
    printReport(
      `${network}, ${size} px, batch ${batchSize}: ${all.toFixed(1)} ms a step in operators`,
      ["operator", "nodes", "ms", "share"],
      table,
      { network, batchSize, rows },
    );
    for (const { name, ms, shape } of nodes.slice(0, 40)) console.log(`${ms.toFixed(2).padStart(7)} ms  ${name}  ${shape}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Prints a table of the row, and gives its figures. */
async function bench(row: Row): Promise<object> {
  const { network, size, batchSize } = row;
  const peer = (name: string, args: readonly string[], tuned = false): Promise<Contestant> => torch(name, row, args, tuned);
  const contestants = await Promise.all([
    serval("Serval, blocked", row, await onnxruntime.probeBlockSize()),
    serval("Serval, portable", row, 0),
    peer("PyTorch, NCHW", ["nchw"]),
    peer("PyTorch, NCHW, tuned malloc", ["nchw"], true),
    peer("PyTorch, channels_last", ["channels_last"]),
    peer("PyTorch, channels_last, tuned malloc", ["channels_last"], true),
    ...(values.eager ? [] : [peer("PyTorch, compiled", ["channels_last", "compile"], true)]),
  ]);
  try {
    const { samples, discarded } = await compete(contestants, row);
    const rates = samples.map((taken) => {
      const rate = taken.map(({ seconds }) => batchSize / seconds);
      return { ...summarize(rate), low: Math.min(...rate), processorSeconds: Math.min(...taken.map(({ processor }) => processor)) };
    });
    const ours = rates[0]!;
    const eager = rates.slice(2, 6);
    const rows = contestants.map(({ name }, i) => [
      name,
      rates[i]!.median.toFixed(1),
      rates[i]!.low.toFixed(1),
      rates[i]!.p95.toFixed(1),
      ((1000 * batchSize) / rates[i]!.median).toFixed(0),
      (ours.median / rates[i]!.median).toFixed(2),
      (1000 * rates[i]!.processorSeconds).toFixed(0),
      (rates[i]!.processorSeconds / ours.processorSeconds).toFixed(2),
    ]);
    const figures = {
      ...row,
      threads,
      statistics: values.frozen ? "frozen" : "batch",
      ratioToFastestEager: ours.median / Math.max(...eager.map(({ median }) => median)),
      ratioToDefault: ours.median / rates[2]!.median,
      processorRatioToFastestEager: Math.min(...eager.map(({ processorSeconds }) => processorSeconds)) / ours.processorSeconds,
      results: contestants.map(({ name }, i) => ({ name, imagesPerSecond: rates[i] })),
    };
    printReport(
      `${network}, ${size} px, batch ${batchSize}, ${threads} threads, AdamW, ${values.frozen ? "frozen" : "batch"} statistics: ${rounds} samples each in turn (${discarded} disturbed ones taken again)`,
      ["", "images/s", "lowest", "p95", "ms a step", "Serval blocked is", "least ms of processor", "Serval blocked is"],
      rows,
      figures,
    );
    return figures;
  } finally {
    for (const { close } of contestants) close();
  }
}

const all: object[] = [];
for (const row of measured) {
  if (values.profile) await profile(row);
  else all.push(await bench(row));
}
if (all.length > 1) console.log(`\n${JSON.stringify({ machine: describeMachine(), rows: all })}`);
process.exit(0);
