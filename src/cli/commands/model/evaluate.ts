import { readFile } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { Option } from "commander";
import { loadSettings } from "../../../config/settings.ts";
import { openShards } from "../../../data/shards.ts";
import { describeSource } from "../../../data/sources/describe-source.ts";
import { openSource } from "../../../data/sources/open-source.ts";
import { splitNames, type Split } from "../../../data/split.ts";
import { type ImageLimits, defaultImageLimits } from "../../../image/check-image.ts";
import { loadBundle, shortDigest, type Bundle } from "../../../model/bundle.ts";
import { provenanceFile } from "../../../model/manifest.ts";
import { exists } from "../../../model/replace-folder.ts";
import { trainedModelDir } from "../../../model/resolve-model.ts";
import { startInference, type Inference } from "../../../runtime/inference.ts";
import { recordLook, type RecordedLook } from "../../../evaluate/accuracy-log.ts";
import { describeCautions, findCautions, type Caution } from "../../../evaluate/cautions.ts";
import { evaluateBundle, evaluateSource, type EvaluateOptions, type Evaluation, type SkippedImage } from "../../../evaluate/evaluate.ts";
import { answeredPart, type AnsweredPart, type Metrics } from "../../../evaluate/metrics.ts";
import { writeEvaluation, type EvaluationSubject } from "../../../train/report.ts";
import { readResults, type EpochResult } from "../../../train/results.ts";
import type { Configure } from "../../command.ts";
import { findModel } from "../../find-model.ts";
import { addFollowLinkFlag, guardFolders, type FollowLinkFlag } from "../../follow-link.ts";
import { formatDuration, type Output } from "../../output.ts";

export interface EvaluateCommandOptions {
  /** The working repository. */
  readonly cwd: string;
  /** A bundle folder, its model.onnx or a released model's name; default: what was trained last, else the released model. */
  readonly model?: string | undefined;
  /** A folder or zip to evaluate instead of a split. */
  readonly data?: string | undefined;
  /** Default: test. */
  readonly split?: Split | undefined;
  /** Default: artifacts/evaluation. */
  readonly out?: string | undefined;
  /** Default: .serval. */
  readonly stateDir?: string | undefined;
  readonly limits?: ImageLimits | undefined;
  /** False for the drawn sample: its figures must never stand in the log of looks at the test split. Default: true. */
  readonly recordLook?: boolean | undefined;
}

export interface EvaluateReport {
  readonly model: { readonly name: string; readonly digest: string };
  readonly data: EvaluationSubject["data"];
  readonly metrics: Metrics;
  /** How it does on what it answers, where the bundle has a threshold to abstain. */
  readonly answered: AnsweredPart | null;
  readonly skipped: readonly SkippedImage[];
  /** The evaluation folder, relative to the working repository, and the files in it. */
  readonly out: string;
  readonly files: readonly string[];
  /** What stands about this model in the log of looks at the test split; null where this was no such look. */
  readonly look: RecordedLook | null;
  readonly seconds: number;
  /** Reasons not to trust the figures yet. */
  readonly cautions: readonly Caution[];
}

export const evaluationDir: string = join("artifacts", "evaluation");

export const configure: Configure = (command, context) => {
  addFollowLinkFlag(command)
    .option("--model <MODEL>", "bundle folder, its model.onnx, a released model's name, or models:/NAME@ALIAS (default: artifacts/best)")
    .option("--data <SOURCE>", "evaluate a folder or zip of labelled images instead of a split")
    .addOption(new Option("--split <SPLIT>", "split of data/processed").choices([...splitNames]).default("test"))
    .option("--out <DIR>", "folder for the figures and pictures", evaluationDir)
    .option("--json", "print the result as JSON")
    .action(async (options: FollowLinkFlag & { model?: string; data?: string; split: Split; out: string; json?: boolean }) => {
      const settings = loadSettings();
      const output = context.output(options);
      await guardFolders(context.cwd, options, [options.out]);
      const report = await evaluateModel(
        {
          cwd: context.cwd,
          model: options.model,
          data: options.data,
          split: options.split,
          out: options.out,
          stateDir: settings.stateDir,
          limits: { maxBytes: settings.maxBodyBytes, maxPixels: settings.maxPixels, maxDecodeMs: settings.maxDecodeMs },
        },
        output,
        context.signal,
      );
      output.result(report, describeEvaluation(report));
    });
};

/** Evaluates a model, writes the evaluation folder and, for the test split, the log of looks. */
export async function evaluateModel(options: EvaluateCommandOptions, output: Output, signal?: AbortSignal): Promise<EvaluateReport> {
  const { cwd, split = "test", stateDir = ".serval" } = options;
  const startedAt = performance.now();
  const bundle = await loadBundle(await modelToEvaluate(options.model, cwd, output));
  const { name, preprocess, abstainBelow } = bundle.manifest;
  const { width, height } = preprocess.crop ?? preprocess;
  const inference = await startInference(bundle.model, { imageShape: [height, width] });
  let result: EvaluatedData;
  try {
    result = await evaluate(options, split, bundle, inference, output, signal);
  } finally {
    await inference.close();
  }
  const { evaluation, data } = result;

  const model = { name, digest: bundle.digest };
  const epochs = await runEpochs(bundle, resolve(cwd, stateDir));
  const out = options.out ?? evaluationDir;
  const files = await writeEvaluation(resolve(cwd, out), evaluation, { model, data, abstainBelow, epochs });
  const { metrics, skipped } = evaluation;
  const isLook = "split" in data && data.split === "test" && (options.recordLook ?? true);
  const look = isLook
    ? await recordLook(
        cwd,
        {
          date: new Date().toISOString().slice(0, 10),
          modelName: name,
          digest: bundle.digest,
          dataVersion: data.version,
          split: data.split,
          count: metrics.count,
          accuracy: metrics.accuracy,
          accuracyInterval: metrics.accuracyInterval,
          loss: metrics.loss,
          command: `serval evaluate --model ${insideOf(cwd, bundle.dir)}`,
        },
        stateDir,
      )
    : null;
  return {
    model,
    data,
    metrics,
    answered: answeredPart(evaluation, abstainBelow) ?? null,
    skipped,
    out: insideOf(cwd, resolve(cwd, out)),
    files,
    look,
    seconds: (performance.now() - startedAt) / 1000,
    cautions: findCautions({ split: "split" in data ? (data.split === "val" ? "validation" : data.split) : "evaluated", metrics }),
  };
}

interface EvaluatedData {
  readonly evaluation: Evaluation;
  readonly data: EvaluationSubject["data"];
}

/** What was trained last comes first here: a released model has been evaluated already. */
async function modelToEvaluate(name: string | undefined, cwd: string, output: Output): Promise<string> {
  const trained = join(cwd, trainedModelDir);
  if (name === undefined && (await exists(join(trained, "bundle.json")))) return trained;
  return (await findModel(name, cwd, output)).dir;
}

async function evaluate(
  { cwd, data, limits = defaultImageLimits }: EvaluateCommandOptions,
  split: Split,
  bundle: Bundle,
  inference: Inference,
  output: Output,
  signal: AbortSignal | undefined,
): Promise<EvaluatedData> {
  let progress: ReturnType<Output["progress"]> | undefined;
  const common: EvaluateOptions = {
    bundle,
    inference,
    ...(signal && { signal }),
    onProgress(done, total) {
      progress ??= output.progress("Evaluating", total, "images");
      progress.update(done);
    },
  };
  try {
    if (data !== undefined) {
      const { cacheFolders } = await import("../../../pipeline/dvc-files/cache-folders.ts");
      const source = await openSource(data, { cwd, signal, linkRoots: await cacheFolders(cwd, data) });
      for (const line of describeSource(source)) output.warn(line);
      try {
        return { evaluation: await evaluateSource({ ...common, source, limits }), data: { source: data } };
      } finally {
        await source.close();
      }
    }
    const shards = await openShards(join(cwd, "data", "processed"), { verify: [split] });
    try {
      if (shards.dataVersion !== bundle.manifest.dataVersion) {
        output.warn(
          `The model was trained on data version ${bundle.manifest.dataVersion.slice(0, 12)}; the prepared data is ${shards.dataVersion.slice(0, 12)}.`,
        );
      }
      return { evaluation: await evaluateBundle({ ...common, shards, split }), data: { version: shards.dataVersion, split } };
    } finally {
      shards.close();
    }
  } finally {
    progress?.end();
  }
}

/** The epochs of the run that made the bundle, where its folder is still here. */
async function runEpochs(bundle: Bundle, stateDir: string): Promise<readonly EpochResult[]> {
  try {
    const provenance = JSON.parse(await readFile(join(bundle.dir, provenanceFile), "utf8")) as { run?: unknown } | null;
    const run = provenance?.run;
    if (typeof run !== "string" || run === "" || basename(run) !== run) return [];
    return await readResults(join(stateDir, "runs", run));
  } catch {
    // Curves are an extra: a bundle that came from elsewhere, or a damaged log, must not stop the evaluation.
    return [];
  }
}

/** A path as a person in `cwd` would write it, with forward slashes. */
function insideOf(cwd: string, path: string): string {
  const inside = relative(cwd, path);
  return (inside === "" ? "." : inside.startsWith("..") ? path : inside).replaceAll("\\", "/");
}

/** The summary that the command prints. */
export function describeEvaluation(report: EvaluateReport): string {
  const { metrics, model, data, answered, skipped, look } = report;
  const count = metrics.count.toLocaleString("en-US");
  const on = "split" in data ? `the ${data.split} split of data ${data.version.slice(0, 12)}` : data.source;
  const [low, high] = metrics.accuracyInterval;
  const lines = [
    `${model.name} ${shortDigest(model)} on ${on}: ${count} images in ${formatDuration(report.seconds)}`,
    "",
    `  accuracy  ${percent(metrics.accuracy)}   (95 % interval ${percent(low)} to ${percent(high)})`,
    `  loss      ${metrics.loss.toFixed(4)}`,
    `  ROC-AUC   ${area(metrics.rocAuc)}`,
    `  ECE       ${percent(metrics.ece)}`,
  ];
  if (answered && answered.abstainBelow > 0) {
    const accuracy = answered.accuracy === null ? "" : `, ${percent(answered.accuracy)} of those right`;
    lines.push(`  answered  ${percent(answered.share)}${accuracy}   (confidence of ${answered.abstainBelow.toFixed(4)} or more)`);
  }
  lines.push("", ...classTable(metrics), "");
  if (skipped.length > 0) {
    const examples = skipped.slice(0, 3).map(({ name, message }) => `  ${name}: ${message}`);
    lines.push(`${skipped.length} files are no images and were skipped:`, ...examples, "");
  }
  if (report.cautions.length > 0) lines.push(...describeCautions(report.cautions), "");
  lines.push(`Written to ${report.out}/: ${report.files.join(", ")}.`);
  if (look?.added) lines.push(`This look at the test split is recorded in ${look.path}.`);
  else if (look) lines.push(`The test split was looked at with this model before; ${look.path} has it:`, look.line);
  return lines.join("\n");
}

function classTable(metrics: Metrics): string[] {
  const rows = [
    ["class", "images", "precision", "recall", "F1", "ROC-AUC"],
    ...metrics.perClass.map((item) => [
      item.label,
      item.support.toLocaleString("en-US"),
      item.precision.toFixed(4),
      item.recall.toFixed(4),
      item.f1.toFixed(4),
      area(item.rocAuc),
    ]),
    ["macro average", "", metrics.macroPrecision.toFixed(4), metrics.macroRecall.toFixed(4), metrics.macroF1.toFixed(4), ""],
  ];
  const widths = (rows[0] as string[]).map((_, c) => Math.max(...rows.map((row) => (row[c] as string).length)));
  return rows.map((row) =>
    `  ${row.map((cell, c) => (c === 0 ? cell.padEnd(widths[c] as number) : cell.padStart(widths[c] as number))).join("  ")}`.trimEnd(),
  );
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

function area(value: number | null): string {
  return value === null ? "not defined" : value.toFixed(4);
}
