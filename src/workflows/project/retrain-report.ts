import type { ValueChange } from "../../pipeline/dvc-files/params.ts";
import { toPlain } from "../../pipeline/dvc-files/yaml-values.ts";
import { numericDifference } from "../../pipeline/history/compare.ts";
import { points, type Comparison } from "../../registry/compare.ts";

type Changes = ReadonlyMap<string, readonly ValueChange[]>;

export interface RetrainVerdict {
  readonly model: string;
  /** Whether the new model was released. */
  readonly released: boolean;
  readonly reason: string;
  /** On the validation split, which decides; null where there was nothing to compare with, or it could not be compared. */
  readonly comparison: Comparison | null;
  /** On the test split, which decides nothing. */
  readonly test: Comparison | null;
  /** Why the validation images may not be as new to a model as they should be. */
  readonly remarks: readonly string[];
}

export interface RetrainFindings {
  /** Against the last commit. */
  readonly metrics: Changes;
  readonly params: Changes;
  /** Files beside the report. */
  readonly pictures: readonly string[];
}

/** report.md, for people who decide on a pull request. */
export function renderRetrainReport(verdict: RetrainVerdict, { metrics, params, pictures }: RetrainFindings): string {
  const { model, released, reason, comparison, test, remarks } = verdict;
  const parts = [`# ${model}, trained again`, `**${released ? "Released" : "Not released"}.** ${reason}`];
  if (comparison !== null) parts.push("## Validation split, which decided", ...renderComparison(comparison, "validation"), ...remarks);
  if (test !== null) parts.push("## Test split, which decided nothing", ...renderComparison(test, "test"));
  parts.push("## Metrics, against the last commit", renderChanges("metric", metrics));
  parts.push("## Parameters, against the last commit", renderChanges("parameter", params));
  if (pictures.length > 0) {
    const images = pictures.map((name) => `![${name.replace(".png", "").replaceAll("-", " ")}](${name})`);
    parts.push("## Pictures of the new model", images.join("\n"));
  }
  return `${parts.join("\n\n")}\n`;
}

function renderComparison(comparison: Comparison, split: string): string[] {
  const { images, onlyChampionRight, onlyChallengerRight, championAccuracy, challengerAccuracy, difference, interval, mcnemarP } =
    comparison;
  const signed = (share: number): string => (share > 0 ? `+${points(share)}` : points(share));
  return [
    table([
      ["", "accuracy", "only this one right"],
      ["released", `${points(championAccuracy)} %`, String(onlyChampionRight)],
      ["new", `${points(challengerAccuracy)} %`, String(onlyChallengerRight)],
    ]),
    `${images} ${split} images. Difference ${signed(difference)} points, 95 % interval ${signed(interval[0])} to ${signed(interval[1])} (paired bootstrap); McNemar's exact p = ${mcnemarP.toPrecision(2)}.`,
  ];
}

function renderChanges(noun: string, changes: Changes): string {
  const rows = [...changes.values()].flat().map((change) => {
    const difference = numericDifference(change);
    return [
      change.key,
      show(toPlain(change.old ?? null)),
      show(toPlain(change.new ?? null)),
      difference === undefined ? "" : `${difference > 0 ? "+" : ""}${show(difference)}`,
    ];
  });
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
