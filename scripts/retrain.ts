/**
 * Brings the model up to date with the data and the parameters, and compares it with the released one on the same test images:
 * `serval pull` (where .dvc/config names a remote), `serval repro`, `serval evaluate` of the released model, and `serval models
 * release` where the new one is good enough; then `serval push`. Run in the working repository; train.yml does on a schedule.
 *
 *     node scripts/retrain.ts [--out reports/retrain]
 *
 * The folder gets report.md (verdict, metrics and parameters against the last commit), its pictures, and verdict.json. When
 * nothing was due there is no folder afterwards. Ends with 0 whatever the verdict is, and otherwise as the command that failed.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { parseArgs } from "node:util";
import { runCli } from "../src/cli/main.ts";
import { createOutput } from "../src/cli/output.ts";
import { compareModels, points, reasonAgainst, type Comparison } from "../src/registry/compare.ts";
import { pairPredictions, readPredictions } from "../src/registry/predictions.ts";

interface Verdict {
  readonly model: string;
  /** Whether the new model was released. */
  readonly released: boolean;
  readonly reason: string;
  readonly comparison: Comparison | null;
}

type Changes = Readonly<Record<string, Readonly<Record<string, { readonly old: unknown; readonly new: unknown; readonly diff?: number }>>>>;

const pictures = ["confusion-matrix.png", "roc.png", "reliability.png", "curves.png"];
const championDir = join(".serval", "evaluations", "champion");

class CommandFailed extends Error {
  readonly code: number;
  constructor(code: number) {
    super("The command above failed.");
    this.code = code;
  }
}

const controller = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => controller.abort());

/** Runs `serval ARGS`; what it says on stderr is seen by who watches. */
async function serval(...args: string[]): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  console.error(`$ serval ${args.join(" ")}`);
  const said = { stdout: "", stderr: "" };
  const stream = (name: "stdout" | "stderr"): Writable =>
    new Writable({
      decodeStrings: false,
      write(chunk: string, _encoding, done) {
        said[name] += chunk;
        if (name === "stderr") process.stderr.write(chunk);
        done();
      },
    });
  const code = await runCli(args, {
    cwd: process.cwd(),
    signal: controller.signal,
    output: (options) => createOutput({ json: options?.json ?? false, stdout: stream("stdout"), stderr: stream("stderr") }),
  });
  return { code, ...said };
}

async function mustServal(...args: string[]): Promise<string> {
  const { code, stdout } = await serval(...args);
  if (code === 0) return stdout;
  process.stderr.write(stdout);
  throw new CommandFailed(code);
}

async function retrain(out: string): Promise<void> {
  rmSync(out, { recursive: true, force: true });
  const lock = (): string => (existsSync("dvc.lock") ? readFileSync("dvc.lock", "utf8") : "");
  const hasRemote = /^[ \t]*\['?remote /m.test(existsSync(".dvc/config") ? readFileSync(".dvc/config", "utf8") : "");
  if (hasRemote) {
    const { code, stderr } = await serval("pull");
    // What the remote lacks is made anew below.
    if (code !== 0 && !stderr.includes("E_REMOTE_MISSING")) throw new CommandFailed(code);
  }
  // The committed one: a run that failed later on left its lock in the workspace.
  const before = spawnSync("git", ["show", "HEAD:./dvc.lock"], { encoding: "utf8" }).stdout ?? "";
  await mustServal("repro");
  if (lock() === before) {
    console.log("Nothing was due: the model is that of the data and the parameters.");
    return;
  }
  const metrics = JSON.parse(await mustServal("metrics", "diff", "--json")) as Changes;
  const params = JSON.parse(await mustServal("params", "diff", "--json")) as Changes;
  const verdict = await compareWithReleased();
  if (verdict.released) await mustServal("models", "release");
  if (hasRemote) await mustServal("push");

  mkdirSync(out, { recursive: true });
  const drawn = pictures.filter((name) => existsSync(join("artifacts/evaluation", name)));
  for (const name of drawn) copyFileSync(join("artifacts/evaluation", name), join(out, name));
  const report = renderReport(verdict, metrics, params, drawn);
  writeFileSync(join(out, "report.md"), report);
  writeFileSync(join(out, "verdict.json"), `${JSON.stringify(verdict, null, 2)}\n`);
  console.log(report);
}

/** The new model against the released one, on the test split of the data as it is now. */
async function compareWithReleased(): Promise<Verdict> {
  const { name: model } = JSON.parse(readFileSync("artifacts/best/bundle.json", "utf8")) as { name: string };
  const champion = join("models", model);
  if (!existsSync(join(champion, "bundle.json"))) {
    return { model, released: true, reason: "It is the first one: there was none to compare with.", comparison: null };
  }
  const { code, stderr } = await serval("evaluate", "--model", champion, "--out", championDir);
  if (code !== 0) {
    // Such as other labels: people decide then.
    const [line = "it cannot be evaluated"] = stderr.split("\n").filter((text) => text.startsWith("E_"));
    return { model, released: false, reason: `It was not compared with the released one: ${line}`, comparison: null };
  }
  const [ofChampion, ofChallenger] = await Promise.all(
    [championDir, "artifacts/evaluation"].map(async (dir) => await readPredictions(join(dir, "predictions.jsonl"))),
  );
  const comparison = compareModels(pairPredictions(ofChampion ?? [], ofChallenger ?? []));
  const against = reasonAgainst(comparison);
  return {
    model,
    released: against === undefined,
    reason: against === undefined ? "It is as good as the released one or better." : `The released one stays: of the new one ${against}.`,
    comparison,
  };
}

function renderReport(
  { model, released, reason, comparison }: Verdict,
  metrics: Changes,
  params: Changes,
  drawn: readonly string[],
): string {
  const parts = [`# ${model}, trained anew`, `**${released ? "Released" : "Not released"}.** ${reason}`];
  if (comparison !== null) {
    const { images, onlyChampionRight, onlyChallengerRight, championAccuracy, challengerAccuracy, difference, interval, mcnemarP } =
      comparison;
    const signed = (share: number): string => (share > 0 ? `+${points(share)}` : points(share));
    parts.push(
      table([
        ["", "accuracy", "only this one right"],
        ["released", `${points(championAccuracy)} %`, String(onlyChampionRight)],
        ["new", `${points(challengerAccuracy)} %`, String(onlyChallengerRight)],
      ]),
      `${images} test images. Difference ${signed(difference)} points, 95 % interval ${signed(interval[0])} to ${signed(interval[1])} (paired bootstrap); McNemar's exact p = ${mcnemarP.toPrecision(2)}.`,
    );
  }
  parts.push("## Metrics, against the last commit", renderChanges("metric", metrics));
  parts.push("## Parameters, against the last commit", renderChanges("parameter", params));
  if (drawn.length > 0)
    parts.push(
      "## Pictures of the new model",
      drawn.map((name) => `![${name.replace(".png", "").replaceAll("-", " ")}](${name})`).join("\n"),
    );
  return `${parts.join("\n\n")}\n`;
}

function renderChanges(noun: string, changes: Changes): string {
  const rows = Object.values(changes).flatMap((file) =>
    Object.entries(file).map(([key, { old, new: now, diff }]) => [
      key,
      show(old),
      show(now),
      diff === undefined ? "" : `${diff > 0 ? "+" : ""}${show(diff)}`,
    ]),
  );
  return rows.length === 0 ? `No ${noun} differs.` : table([[noun, "before", "now", "change"], ...rows]);
}

function show(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(5)));
  return (typeof value === "string" ? value : JSON.stringify(value)).replaceAll("|", "\\|");
}

function table([head = [], ...rows]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

const { values } = parseArgs({ options: { out: { type: "string", default: join("reports", "retrain") } } });
try {
  await retrain(values.out);
} catch (error) {
  console.error(error instanceof CommandFailed ? error.message : error);
  process.exitCode = error instanceof CommandFailed ? error.code : 1;
}
