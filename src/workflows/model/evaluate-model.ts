import { readFile } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { loadSettings } from "../../config/settings.ts";
import { parsePlainYaml } from "../../config/yaml.ts";
import { openShards } from "../../data/shards.ts";
import type { LabelsFrom } from "../../data/layout/layout.ts";
import { describeSource } from "../../data/sources/describe-source.ts";
import { openSource } from "../../data/sources/open-source.ts";
import { cacheFolders } from "../../pipeline/dvc-files/cache-folders.ts";
import type { Split } from "../../data/split.ts";
import { epochSelections, type EpochSelection } from "../../evaluate/best-epoch.ts";
import { recordLook, type RecordedLook } from "../../evaluate/accuracy-log.ts";
import { findCautions, type Caution } from "../../evaluate/cautions.ts";
import { evaluateBundle, evaluateSource, type EvaluateOptions, type Evaluation, type SkippedImage } from "../../evaluate/evaluate.ts";
import { answeredPart, type AnsweredPart, type Metrics } from "../../evaluate/metrics.ts";
import { readIfThere } from "../../files.ts";
import type { ImageLimits } from "../../image/check-image.ts";
import { loadBundle, type Bundle } from "../../model/bundle.ts";
import { provenanceFile } from "../../model/manifest.ts";
import { exists } from "../../model/replace-folder.ts";
import { evaluationDir, shardsDir, trainedModelDir } from "../../paths.ts";
import { startInference, type Inference } from "../../runtime/inference.ts";
import { writeEvaluation, type EvaluationSubject } from "../../evaluate/evaluation-folder.ts";
import { readResults } from "../../train/results.ts";
import { argsFile } from "../../train/run-folder.ts";
import { findModel } from "../find-model.ts";
import { guardFolders } from "../guard-folders.ts";
import { silentReporter, type Progress, type UseCaseOptions } from "../reporter.ts";

export interface EvaluateModelOptions extends UseCaseOptions {
  /** A bundle folder, its model.onnx, a released model's name or a `models:/` address; default: what was trained last, else the released model. */
  readonly model?: string | undefined;
  /** A folder or zip to evaluate instead of a split. */
  readonly data?: string | undefined;
  /** Where the labels of `data` come from; default: folders. */
  readonly labelsFrom?: LabelsFrom | undefined;
  /** How names in a zip are written that are not UTF-8. */
  readonly zipEncoding?: string | undefined;
  /** Default: test. */
  readonly split?: Split | undefined;
  /** Default: artifacts/evaluation for the test split, artifacts/evaluation-data for `data`, and artifacts/evaluation-SPLIT else. */
  readonly out?: string | undefined;
  /** Default: SERVAL_STATE_DIR, else .serval. */
  readonly stateDir?: string | undefined;
  /** Of pictures in `data`. Default: what the environment says. */
  readonly limits?: ImageLimits | undefined;
  /** False for the drawn sample: its figures must never be in the log of looks at the test split. Default: true. */
  readonly recordLook?: boolean | undefined;
  /** Links in `cwd` that may be written through, now and later. */
  readonly followLink?: readonly string[] | undefined;
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
  /** What the log of looks at the test split says about this model; null where this evaluation was not on the test split. */
  readonly look: RecordedLook | null;
  readonly seconds: number;
  /** Reasons not to trust the figures yet. */
  readonly cautions: readonly Caution[];
}

/** Evaluates a model, writes the evaluation folder and, for the test split, the log of looks. */
export async function evaluateModel(options: EvaluateModelOptions): Promise<EvaluateReport> {
  const { cwd, split = "test", data: source } = options;
  const out = options.out ?? usualOut(source === undefined ? split : "data");
  const stateDir = options.stateDir ?? loadSettings().stateDir;
  const startedAt = performance.now();
  await guardFolders(cwd, options.followLink ?? [], [out]);
  const bundle = await loadBundle(await modelToEvaluate(options));
  const { name, preprocess, abstainBelow } = bundle.manifest;
  const { width, height } = preprocess.crop ?? preprocess;
  const inference = await startInference(bundle.model, { imageShape: [height, width] });
  let result: EvaluatedData;
  try {
    result = await evaluate(options, split, bundle, inference);
  } finally {
    await inference.close();
  }
  const { evaluation, data } = result;

  const model = { name, digest: bundle.digest };
  const run = await readRun(bundle, resolve(cwd, stateDir));
  const files = await writeEvaluation(resolve(cwd, out), evaluation, { model, data, abstainBelow, ...run }, options.signal);
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

/** Other pictures do not take the place of the test report. */
function usualOut(of: Split | "data"): string {
  return of === "test" ? evaluationDir : `${evaluationDir}-${of}`;
}

interface EvaluatedData {
  readonly evaluation: Evaluation;
  readonly data: EvaluationSubject["data"];
}

/** What was trained last comes first here: a released model has been evaluated already. */
async function modelToEvaluate({ model, cwd, reporter, signal }: EvaluateModelOptions): Promise<string> {
  const trained = join(cwd, trainedModelDir);
  if (model === undefined && (await exists(join(trained, "bundle.json")))) return trained;
  return (await findModel(model, { cwd, reporter, signal })).dir;
}

async function evaluate(
  { cwd, data, labelsFrom, zipEncoding, limits = usualLimits(), reporter = silentReporter, signal }: EvaluateModelOptions,
  split: Split,
  bundle: Bundle,
  inference: Inference,
): Promise<EvaluatedData> {
  let progress: Progress | undefined;
  const common: EvaluateOptions = {
    bundle,
    inference,
    ...(signal && { signal }),
    onProgress(done, total) {
      progress ??= reporter.progress("Evaluating", total, "images");
      progress.update(done);
    },
  };
  try {
    if (data !== undefined) {
      const source = await openSource(data, { cwd, signal, labelsFrom, zipEncoding, linkRoots: await cacheFolders(cwd, data) });
      for (const line of describeSource(source)) reporter.warn(line);
      try {
        return { evaluation: await evaluateSource({ ...common, source, limits }), data: { source: data } };
      } finally {
        await source.close();
      }
    }
    const shards = await openShards(join(cwd, shardsDir), { verify: [split] });
    try {
      if (shards.dataVersion !== bundle.manifest.dataVersion) {
        reporter.warn(
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

function usualLimits(): ImageLimits {
  const { maxBodyBytes: maxBytes, maxPixels, maxDecodeMs } = loadSettings();
  return { maxBytes, maxPixels, maxDecodeMs };
}

/** The epochs of the run that made the bundle, and what made one of them the best, where its folder is still here. */
async function readRun(bundle: Bundle, stateDir: string): Promise<Pick<EvaluationSubject, "epochs" | "select">> {
  try {
    const provenance = JSON.parse(await readFile(join(bundle.dir, provenanceFile), "utf8")) as { run?: unknown } | null;
    const run = provenance?.run;
    if (typeof run !== "string" || run === "" || basename(run) !== run) return {};
    const runDir = join(stateDir, "runs", run);
    return { epochs: await readResults(runDir), select: readSelection((await readIfThere(join(runDir, argsFile))) ?? "") };
  } catch {
    // Curves are an extra: a bundle that came from elsewhere, or a damaged log, must not stop the evaluation.
    return {};
  }
}

/** train.select of a run's args.yaml. */
function readSelection(text: string): EpochSelection | undefined {
  const args = parsePlainYaml(text, argsFile, "E_RESULTS") as { train?: { select?: unknown } } | null;
  return epochSelections.find((name) => name === args?.train?.select);
}

/** A path as a person in `cwd` would write it, with forward slashes. */
function insideOf(cwd: string, path: string): string {
  const inside = relative(cwd, path);
  return (inside === "" ? "." : inside.startsWith("..") ? path : inside).replaceAll("\\", "/");
}
