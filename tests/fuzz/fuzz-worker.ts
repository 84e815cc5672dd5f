import { createHash } from "node:crypto";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Coverage } from "./coverage.ts";
import { currentInput, type FuzzReport, type FuzzTask } from "./fuzz-task.ts";
import { Random } from "./random.ts";
import type { FuzzTarget } from "./target.ts";
import { fuzzTargets } from "./targets.ts";

const mostCpuMs = 1000;
const mostGrowthBytes = 600e6;
const batchSize = 64;
const reportEveryMs = 1000;
const longestInput = 64_000;
const minimiseMs = 10_000;

class Fuzzer {
  readonly #target: FuzzTarget;
  readonly #task: FuzzTask;
  readonly #random: Random;
  readonly #corpus: Uint8Array[];
  readonly #coverage: Coverage | undefined;
  readonly #finds = new Set<string>();
  #inputs = 0;

  constructor(target: FuzzTarget, task: FuzzTask) {
    this.#target = target;
    this.#task = task;
    this.#random = new Random(task.seed);
    this.#corpus = [...target.seeds];
    this.#coverage = target.guided ? new Coverage() : undefined;
  }

  get report(): FuzzReport {
    return { inputs: this.#inputs, corpus: this.#corpus.length, blocks: this.#coverage?.blocks ?? 0, finds: this.#finds.size };
  }

  async run(onReport: (report: FuzzReport) => void): Promise<void> {
    for (const seed of this.#target.seeds) await this.#try(seed);
    this.#coverage?.takeNew();
    for (let reportAt = 0; Date.now() < this.#task.endAt;) {
      const batch = Array.from({ length: batchSize }, () => this.#next());
      for (const input of batch) await this.#try(input);
      // To ask for the blocks costs more than most inputs: all at once, and each of them only where something was new.
      const blocks = this.#coverage?.takeNew();
      if (blocks !== undefined && blocks.size > 0) await this.#keep(batch, blocks);
      if (Date.now() < reportAt) continue;
      reportAt = Date.now() + reportEveryMs;
      onReport(this.report);
    }
  }

  #next(): Uint8Array {
    // The newest half of the time: what just got further is the most promising.
    const { length } = this.#corpus;
    const recent = this.#random.below(2) === 0 ? Math.max(0, length - 20) : 0;
    const base = this.#corpus[recent + this.#random.below(length - recent)]!;
    return this.#target.mutate(base, this.#random, this.#corpus).subarray(0, longestInput);
  }

  /** Keeps the first input of the batch that reaches each of these blocks. */
  async #keep(batch: readonly Uint8Array[], blocks: Set<string>): Promise<void> {
    for (const input of batch) {
      await this.#try(input);
      const reached = this.#coverage?.takeOf(blocks) ?? [];
      if (reached.length > 0) this.#corpus.push(input);
      for (const block of reached) blocks.delete(block);
      if (blocks.size === 0) return;
    }
  }

  async #try(input: Uint8Array): Promise<void> {
    this.#inputs++;
    const problem = await problemOf(this.#target, input, this.#task.dir);
    if (problem === undefined) return;
    const signature = signatureOf(problem);
    if (this.#finds.has(signature)) return;
    this.#finds.add(signature);
    const small = await minimise(this.#target, input, signature, this.#task.dir);
    const name = createHash("sha256").update(small).digest("hex").slice(0, 12);
    const path = join(this.#task.dir, name);
    if (!existsSync(path)) writeFileSync(path, small);
    writeFileSync(`${path}.txt`, `${signature}\n\n${problem.stack ?? String(problem)}\n`);
  }
}

async function problemOf(target: FuzzTarget, input: Uint8Array, dir: string): Promise<Error | undefined> {
  writeFileSync(join(dir, currentInput), input);
  const [cpu, rss] = [process.cpuUsage(), process.memoryUsage.rss()];
  try {
    await target.run(input);
  } catch (error) {
    return error as Error;
  }
  const { user, system } = process.cpuUsage(cpu);
  const cpuMs = (user + system) / 1000;
  if (cpuMs > mostCpuMs) return Object.assign(new Error(`takes ${Math.round(cpuMs)} ms`), { name: "TooSlow" });
  const grown = process.memoryUsage.rss() - rss;
  return grown > mostGrowthBytes ? Object.assign(new Error(`takes ${Math.round(grown / 1e6)} MB`), { name: "TooLarge" }) : undefined;
}

/** Two finds are one where the same place fails in the same way. */
function signatureOf({ name, message, stack = "" }: Error): string {
  const place =
    /(?:src|node_modules|tests\/fuzz)\/[^\s)]+/.exec(
      stack
        .split("\n")
        .filter((text) => text.includes(" at "))
        .join("\n"),
    )?.[0] ?? "";
  return `${name} ${message.replaceAll(/\d+|"[^"]*"/g, "#").slice(0, 100)} ${place}`;
}

/** Leaves out what the find does not need, larger parts first. */
async function minimise(target: FuzzTarget, input: Uint8Array, signature: string, dir: string): Promise<Uint8Array> {
  let smallest = Buffer.from(input);
  const endAt = Date.now() + minimiseMs;
  for (let size = smallest.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at < smallest.length && Date.now() < endAt;) {
      const shorter = Buffer.concat([smallest.subarray(0, at), smallest.subarray(at + size)]);
      const problem = await problemOf(target, shorter, dir);
      if (problem !== undefined && signatureOf(problem) === signature) smallest = shorter;
      else at += size;
    }
  }
  return smallest;
}

const task = JSON.parse(process.argv[2] ?? "") as FuzzTask;
mkdirSync(task.dir, { recursive: true });
const target = await fuzzTargets[task.target]!();
const fuzzer = new Fuzzer(target, task);
await fuzzer.run((report) => void process.send?.(report));
process.send?.(fuzzer.report);
await target.close?.();
process.disconnect();
