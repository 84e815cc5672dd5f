import { join } from "node:path";
import { stateDirectory } from "../../config/env.ts";
import { loadParams, type Params } from "../../config/params.ts";
import { readCorrections } from "../../data/corrections.ts";
import { correctionsFile, qualityDir } from "../../paths.ts";
import { findWrongLabels, type SuspectLabel } from "../../quality/wrong-labels.ts";
import { guardFolders } from "../guard-folders.ts";
import type { UseCaseOptions } from "../reporter.ts";
import { answerHeldOut, loadCheckedSet, type CheckedPicture } from "./held-out-answers.ts";
import { writeLabelReport, type LabelReport } from "./label-report.ts";

export interface CheckLabelsOptions extends UseCaseOptions {
  /** Default: params.yaml. */
  readonly params?: Params | undefined;
  /** Keeps features between runs. Default: SERVAL_STATE_DIR, else .serval. */
  readonly stateDir?: string | undefined;
}

export interface LabelCheck extends LabelReport {
  /** Pictures that were checked. */
  readonly images: number;
  /** Classes with too few different pictures to check their labels. */
  readonly unchecked: readonly string[];
  /** Share of the labels that classifiers which did not see the picture agree with. */
  readonly agreement: number;
  /** Suspects that are not listed, because a correction says `keep`. */
  readonly kept: number;
  readonly seconds: number;
}

/**
 * Finds labels that are probably wrong: classifiers on the features of the backbone answer for pictures that they did not see, and the labels that they
 * contradict most are suspects. Writes a page and a list. Throws E_SHARDS_MISSING, E_PARAMS, E_TOO_FEW_IMAGES.
 */
export async function checkLabels(options: CheckLabelsOptions): Promise<LabelCheck> {
  const startedAt = performance.now();
  const { cwd, stateDir = stateDirectory() } = options;
  await guardFolders(cwd, [], [join(stateDir, "features"), qualityDir]);
  const set = await loadCheckedSet({ ...options, params: options.params ?? (await loadParams(cwd)) });
  try {
    const { answers, agreement } = await answerHeldOut(set, options);
    const { keeps } = await readCorrections(join(cwd, correctionsFile));
    const found = onePerPicture(findWrongLabels(answers), set.pictures);
    const suspects = found.filter(({ row }) => !keeps.has(set.pictures[row]!.row.sha256));
    const report = await writeLabelReport(cwd, set, suspects);
    const seconds = (performance.now() - startedAt) / 1000;
    return { images: set.pictures.length, unchecked: set.unchecked, agreement, kept: found.length - suspects.length, ...report, seconds };
  } finally {
    set.shards.close();
  }
}

/** Without data.dedupe, equal files are several rows. */
function onePerPicture(suspects: readonly SuspectLabel[], pictures: readonly CheckedPicture[]): SuspectLabel[] {
  const first = new Map<string, SuspectLabel>();
  for (const suspect of suspects) {
    const { sha256 } = pictures[suspect.row]!.row;
    if (!first.has(sha256)) first.set(sha256, suspect);
  }
  return [...first.values()];
}
