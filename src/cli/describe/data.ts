import type { DataCheck } from "../../data/check.ts";
import { correctionActions } from "../../data/corrections.ts";
import { describeChanges, touchesOld } from "../../data/describe-changes.ts";
import type { IngestReport } from "../../data/ingest.ts";
import type { PrepareReport } from "../../data/prepare.ts";
import { splitNames } from "../../data/split.ts";
import { firstOf, percent } from "../../text.ts";
import type { LabelCheck } from "../../workflows/data/check-labels.ts";
import type { PictureCheck } from "../../workflows/data/check-pictures.ts";
import type { CorrectReport } from "../../workflows/data/correct-data.ts";
import { formatDuration } from "../../workflows/format-duration.ts";

/** What `serval data import` prints. */
export function describeImport(report: IngestReport, out: string): string {
  const classes = Object.entries(report.counts).map(([label, count]) => `${label} ${count}`);
  const counts = classes.length > 12 ? `${classes.length} classes` : classes.join(", ");
  const aside = `${report.setAside.length} set aside`;
  const changes = describeChanges(report.changes, report.counts);
  const corrected = report.corrections === null ? [] : [describeCorrected(report.corrections)];
  const setAside = listed(report.setAside.map((item) => `${item.path}: ${item.code}: ${item.message}`));
  if (report.dry) {
    const first =
      changes.length === 0 ? `Nothing would change in ${out}` : `An import of ${report.source} would change ${out}; nothing was written`;
    return [`${first} (${counts}; ${aside}).`, ...corrected, ...changes, ...setAside].join("\n");
  }
  if (!report.changed) return `Nothing to do: the ${report.kept} images of ${report.source} are in ${out} already (${counts}; ${aside}).`;
  const speed = `${formatDuration(report.seconds)}, ${Math.round(report.filesPerSecond)} files/s`;
  const again = report.reused > 0 ? ` (${report.reused} were there already)` : "";
  return [
    `Imported ${report.kept} images of ${report.source} into ${out}${again} in ${speed}: ${counts}; ${aside}.`,
    ...corrected,
    ...(touchesOld(report.changes) ? changes : []),
    ...setAside,
  ].join("\n");
}

function describeCorrected({ relabelled, excluded, unused }: NonNullable<IngestReport["corrections"]>): string {
  const gone =
    unused === 0 ? "" : `; ${unused} ${unused === 1 ? "line is" : "lines are"} about pictures or classes that are not in the data`;
  return `  Corrections: ${relabelled} relabelled, ${excluded} left out${gone}.`;
}

/** What `serval data correct` prints. */
export function describeCorrections({ file, added, undecided }: CorrectReport): string {
  const counts = correctionActions.flatMap((action) => {
    const count = added.filter((one) => one.action === action).length;
    return count === 0 ? [] : [`${action} ${count}`];
  });
  const passed = undecided === 0 ? "" : ` ${undecided} lines have no action yet.`;
  if (added.length === 0) return `Nothing was added to ${file}.${passed}`;
  return `Added ${added.length} to ${file}: ${counts.join(", ")}.${passed} \`serval data import\` applies them, then \`serval prepare\`.`;
}

/** What `serval data check --labels` prints about labels. */
export function describeLabels({ images, suspects, unchecked, agreement, kept, page, list }: LabelCheck): string {
  const lines = suspects.map(
    ({ path, label, likelier, confidence, likelierConfidence }) =>
      `${path}: ${label} (${percent(confidence)}), likelier ${likelier} (${percent(likelierConfidence)})`,
  );
  return [
    `Labels that are probably wrong: ${suspects.length === 0 ? "none" : suspects.length} of ${images}`,
    ...listed(lines),
    ...(kept === 0 ? [] : [`  not listed, because a correction keeps them: ${kept}`]),
    ...(unchecked.length === 0 ? [] : [`  too few pictures to check: ${firstOf(unchecked, 5)}`]),
    `  Classifiers that did not see a picture agree with ${percent(agreement)} of the labels.`,
    `  Look at ${page}; decide in ${list}, then run \`serval data correct --from ${list}\`.`,
  ].join("\n");
}

/** What `serval data check --pictures` prints about pictures. */
export function describePictures({ images, found, kept, page, list }: PictureCheck): string {
  return [
    `Dark, bright, flat or blurred: ${found.length === 0 ? "none" : found.length} of ${images}`,
    ...listed(found.map(({ path, defects: own }) => `${path}: ${own.join(", ")}`)),
    ...(kept === 0 ? [] : [`  not listed, because a correction keeps them: ${kept}`]),
    ...(found.length === 0 ? [] : [`  Look at ${page}; decide in ${list}, then run \`serval data correct --from ${list}\`.`]),
  ].join("\n");
}

/** What `serval data check` prints. */
export function describeCheck(check: DataCheck): string {
  const widest = Math.max(...check.classes.map(({ label }) => label.length));
  const most = Math.max(...check.classes.map(({ count }) => count));
  const balance = check.classes.map(({ label, count, share }) => {
    const bar = "█".repeat(Math.max(1, Math.round((count / most) * 40)));
    return `  ${label.padEnd(widest)}  ${bar} ${count} (${percent(share)})`;
  });
  const section = (title: string, items: readonly string[]): string[] => [
    `${title}: ${items.length === 0 ? "none" : items.length}`,
    ...listed(items),
  ];
  return [
    `${check.images} images in ${check.classes.length} ${check.classes.length === 1 ? "class" : "classes"}, data version ${check.dataVersion.slice(0, 12)}`,
    ...balance,
    ...section(
      "Exact duplicates",
      check.exactDuplicates.map(({ paths }) => paths.join(" = ")),
    ),
    ...section(
      "Near duplicates",
      check.nearDuplicates.map(({ paths }) => paths.join(" ~ ")),
    ),
    ...section(
      "Conflicting labels",
      check.conflicts.map(
        ({ paths, sameBytes }) => `${paths.join(sameBytes ? " = " : " ~ ")} (${sameBytes ? "the same bytes" : "look the same"})`,
      ),
    ),
    ...section(
      "Odd sizes",
      check.oddSizes.map(({ path, width, height, reason }) => `${path}: ${width}x${height}, ${reason}`),
    ),
    ...section(
      "Classes too small",
      check.tooSmall.map(({ label, count, needed }) => `${label}: ${count} of at least ${needed}`),
    ),
    ...describeSplits(check.splits, section),
  ].join("\n");
}

function describeSplits(splits: DataCheck["splits"], section: (title: string, items: readonly string[]) => string[]): string[] {
  if (splits === null) return ["Leaks between splits: nothing is prepared yet"];
  const remark = splits.upToDate ? [] : ["data/processed was made from another version of the data: run `serval prepare`."];
  return [
    ...section(
      "Leaks between splits",
      splits.leaks.map(({ paths, splits }) => `${paths.join(" ~ ")} (${splits.join(", ")})`),
    ),
    ...remark,
  ];
}

/** The first ten, and how many more there are. */
function listed(items: readonly string[]): string[] {
  const shown = items.slice(0, 10).map((item) => `  ${item}`);
  return items.length > shown.length ? [...shown, `  and ${items.length - shown.length} more (--json lists all)`] : shown;
}

/** What `serval prepare` prints. */
export function describePrepare(report: PrepareReport): string {
  if (!report.changed) return `Nothing to do: data/processed is up to date (${report.images} images).`;
  const lines = splitNames.map((split) => {
    const counts = Object.entries(report.counts[split]);
    const total = counts.reduce((sum, [, count]) => sum + count, 0);
    return `  ${split.padEnd(6)}${String(total).padStart(8)}  ${counts.map(([label, count]) => `${label} ${count}`).join(", ")}`;
  });
  const speed = `${formatDuration(report.seconds)}, ${Math.round(report.imagesPerSecond)} images/s`;
  return [`Prepared ${report.images} images in ${speed}; ${Math.round(report.bytes / 1e6)} MB in data/processed.`, ...lines].join("\n");
}
