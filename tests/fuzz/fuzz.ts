import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { currentInput, type FuzzReport, type FuzzTask } from "./fuzz-task.ts";
import { fuzzTargets } from "./targets.ts";

const usage = `Usage: npm run long:fuzz -- [--target NAME] [--minutes 10] [--seed N] [--out DIR]

Tries changed inputs on what reads bytes from strangers: ${Object.keys(fuzzTargets).join(", ")}; all of them by default.
An input counts as a find where it ends in anything but an answer or a documented refusal, takes over a second of processor time
or 600 MB, hangs or kills the process. Each find is made smaller and written to DIR/TARGET (default .serval/fuzz), with its
reason beside it. Ends with 1 where there are finds.`;

/** Without a new input for this long, the process that tries them hangs. */
const hangMs = 30_000;

/** Runs one target until its time is over, in processes that may die. Returns the last report, over all of them. */
async function fuzz(target: string, seed: number, endAt: number, dir: string): Promise<FuzzReport> {
  let [inputs, deaths] = [0, 0];
  let last: FuzzReport = { inputs: 0, corpus: 0, blocks: 0, finds: 0 };
  const startedAt = Date.now();
  while (Date.now() < endAt) {
    const task: FuzzTask = { target, seed: seed + deaths, endAt, dir };
    const child = fork(join(import.meta.dirname, "fuzz-worker.ts"), [JSON.stringify(task)], { execArgv: ["--max-old-space-size=2048"] });
    const current = join(dir, currentInput);
    let printAt = 0;
    child.on("message", (report: FuzzReport) => {
      last = report;
      if (Date.now() < printAt) return;
      printAt = Date.now() + 10_000;
      const rate = Math.round((inputs + report.inputs) / ((Date.now() - startedAt) / 1000));
      console.log(
        `${target}  ${inputs + report.inputs} inputs, ${rate}/s, ${report.corpus} kept, ${report.blocks} blocks, ${report.finds} finds`,
      );
    });
    let hung = false;
    const watch = setInterval(() => {
      const idleMs = existsSync(current) ? Date.now() - statSync(current).mtimeMs : 0;
      if (idleMs < hangMs) return;
      hung = true;
      child.kill("SIGKILL");
    }, 1000);
    const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
    clearInterval(watch);
    inputs += last.inputs;
    if (code === 0) break;
    deaths++;
    const reason = hung ? `hangs for ${hangMs / 1000} s` : `ends the process (${signal ?? `status ${code}`})`;
    if (!existsSync(current)) throw new Error(`the target ${target} does not start`);
    renameSync(current, join(dir, `death-${seed}-${deaths}`));
    writeFileSync(join(dir, `death-${seed}-${deaths}.txt`), `${reason}\n`);
    console.log(`${target}  an input ${reason}`);
  }
  rmSync(join(dir, currentInput), { force: true });
  return { ...last, inputs };
}

const { values } = parseArgs({
  options: {
    target: { type: "string", multiple: true, default: Object.keys(fuzzTargets) },
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: "1" },
    out: { type: "string", default: ".serval/fuzz" },
    help: { type: "boolean", default: false },
  },
});
const unknown = values.target.find((name) => !Object.hasOwn(fuzzTargets, name));
if (values.help || unknown !== undefined || !(Number(values.minutes) > 0)) {
  console.log(usage);
  process.exit(values.help ? 0 : 2);
}
let total = 0;
for (const target of values.target) {
  const dir = resolve(values.out, target);
  mkdirSync(dir, { recursive: true });
  const { inputs, corpus, blocks } = await fuzz(target, Number(values.seed), Date.now() + Number(values.minutes) * 60_000, dir);
  const finds = readdirSync(dir).filter((name) => !name.includes("."));
  total += finds.length;
  console.log(
    `${target}  seed ${values.seed}, ${values.minutes} min: ${inputs} inputs, ${corpus} kept, ${blocks} blocks, ${finds.length} finds in ${dir}`,
  );
}
process.exitCode = total > 0 ? 1 : 0;
