import { Option } from "commander";
import { basename, dirname, join, relative, resolve } from "node:path";
import { loadSettings } from "../../../config/settings.ts";
import { loadParams, paramsFile } from "../../../config/params.ts";
import { checkData, type DataCheck } from "../../../data/check.ts";
import { describeChanges, touchesOld } from "../../../data/describe-changes.ts";
import { ingest, type IngestReport } from "../../../data/ingest.ts";
import type { LabelsFrom } from "../../../data/layout/layout.ts";
import { describeSource } from "../../../data/sources/describe-source.ts";
import { openSource } from "../../../data/sources/open-source.ts";
import { presets, type Preset } from "../../../data/sources/preset.ts";
import type { Source } from "../../../data/sources/source.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import { exists } from "../../../model/replace-folder.ts";
import { LinkGuard } from "../../../safe-path.ts";
import type { Configure } from "../../command.ts";
import { addFollowLinkFlag, guardFolders, type FollowLinkFlag } from "../../follow-link.ts";
import { formatDuration, type Output } from "../../output.ts";

export interface ImportOptions {
  /** The working repository. */
  readonly cwd: string;
  /** A zip, a folder, an http(s) URL, `preset:NAME` or `sample`; paths relative to `cwd`. */
  readonly source: string;
  /** data/raw; relative to `cwd`. The quarantine lies beside it. */
  readonly out?: string | undefined;
  /** Remembers what was imported, and keeps downloads. Default: .serval. */
  readonly stateDir?: string | undefined;
  /** Where labels come from; default: folders. */
  readonly labelsFrom?: LabelsFrom | undefined;
  /** How names in a zip are written that are not UTF-8. */
  readonly zipEncoding?: string | undefined;
  /** Says what would change and writes nothing. */
  readonly dry?: boolean | undefined;
  /** Other presets than the built-in ones. */
  readonly presets?: Readonly<Record<string, Preset>>;
  /** Says which links in `cwd` may be followed; without it none. */
  readonly guard?: LinkGuard | undefined;
}

const defaultOut = "data/raw";

export const configure: Configure = (command, context) => {
  addFollowLinkFlag(command.command("import"))
    .description("Bring in labelled images; broken files go to quarantine with a report.")
    .argument(
      "[SOURCE]",
      "zip, folder with one subfolder per class, http(s) URL of a zip, or `sample` (default: data.source of params.yaml)",
    )
    .option("--preset <NAME>", `a public data set: ${Object.keys(presets).join(", ")}`)
    .option("--out <DIR>", "where the images go", defaultOut)
    .option("--dry", "say what would change in the data, and write nothing")
    .addOption(
      new Option("--labels-from <WHERE>", "folder names, or file names as in rose.0.jpg").choices(["folder", "name"]).default("folder"),
    )
    .option("--zip-encoding <NAME>", "how names in a zip are written that are not UTF-8: gbk, shift_jis, big5, euc-kr, ...")
    .option("--json", "print the result as JSON")
    .action(async (given: string | undefined, options: ImportFlags) => {
      if (given !== undefined && options.preset !== undefined) {
        throw new ServalError("E_USAGE", `Both a source ("${given}") and --preset ${options.preset} were given; expected one of them.`);
      }
      const preset = options.preset === undefined ? undefined : `preset:${options.preset}`;
      const source = given ?? preset ?? (await sourceOfParams(context.cwd));
      const output = context.output(options);
      const { stateDir } = loadSettings();
      const folders = [options.out, join(dirname(options.out), "quarantine"), join(stateDir, "import"), join(stateDir, "downloads")];
      const guard = await guardFolders(context.cwd, options, options.dry === true ? [] : folders);
      const { out, labelsFrom, zipEncoding, dry } = options;
      const report = await importData(
        { cwd: context.cwd, source, out, stateDir, guard, labelsFrom, zipEncoding, dry },
        output,
        context.signal,
      );
      output.result(report, describeImport(report, options.out));
    });
  command
    .command("check")
    .description("Show class balance, duplicates, conflicting labels, odd sizes and leaks between splits.")
    .option("--json", "print the result as JSON")
    .action(async (options: { json?: boolean }) => {
      const report = await checkData(join(context.cwd, defaultOut), join(context.cwd, "data/processed"));
      context.output(options).result(report, describeCheck(report));
    });
};

interface ImportFlags extends FollowLinkFlag {
  readonly preset?: string;
  readonly out: string;
  readonly dry?: boolean;
  readonly labelsFrom: LabelsFrom;
  readonly zipEncoding?: string;
  readonly json?: boolean;
}

/** data.source of params.yaml. Throws E_USAGE where there is no such file: its default, the sample, would hardly be meant. */
async function sourceOfParams(cwd: string): Promise<string> {
  const params = await loadParams(cwd);
  if (await exists(join(cwd, paramsFile))) return params.data.source;
  throw new ServalError("E_USAGE", `No source was given, and there is no ${paramsFile} in this folder that names one.`, {
    hint: "Name a zip or a folder with one subfolder per class: `serval data import photos`. `serval data import sample` draws a set of pictures to try the commands on.",
  });
}

/** Imports a source into data/raw with a progress bar, and says before it begins how it understood the source. */
export async function importData(options: ImportOptions, output: Output, signal?: AbortSignal): Promise<IngestReport> {
  const outDir = resolve(options.cwd, options.out ?? defaultOut);
  const source = await openWithProgress(options, output, signal);
  for (const line of describeSource(source)) output.warn(line);
  const progress = output.progress(options.dry === true ? "Looking" : "Importing", source.count, "files");
  try {
    const report = await ingest(source, {
      outDir,
      quarantineDir: join(dirname(outDir), "quarantine"),
      journalPath: resolve(options.cwd, options.stateDir ?? ".serval", "import", `${journalName(options.cwd, outDir)}.jsonl`),
      guard: options.guard ?? new LinkGuard(options.cwd),
      ...(signal && { signal }),
      dry: options.dry ?? false,
      onProgress: (done) => progress.update(done),
    });
    progress.end();
    for (const remark of report.remarks.filter((remark) => !source.remarks.includes(remark))) output.warn(remark);
    return report;
  } finally {
    progress.end();
    await source.close();
  }
}

async function openWithProgress(options: ImportOptions, output: Output, signal?: AbortSignal): Promise<Source> {
  let progress: ReturnType<Output["progress"]> | undefined;
  const { cacheFolders } = await import("../../../pipeline/dvc-files/cache-folders.ts");
  try {
    return await openSource(options.source, {
      cwd: options.cwd,
      stateDir: options.stateDir,
      signal,
      labelsFrom: options.labelsFrom,
      zipEncoding: options.zipEncoding,
      linkRoots: await cacheFolders(options.cwd, options.source),
      ...(options.presets && { presets: options.presets }),
      onDownload: (done, total) => {
        progress ??= output.progress("Downloading", Math.ceil(total / 1e6), "MB");
        progress.update(Math.floor(done / 1e6));
      },
    });
  } finally {
    progress?.end();
  }
}

function journalName(cwd: string, outDir: string): string {
  return relative(cwd, outDir).replaceAll(/[^A-Za-z0-9.-]+/g, "-") || basename(outDir);
}

/** The summary that the command prints. */
export function describeImport(report: IngestReport, out: string): string {
  const classes = Object.entries(report.counts).map(([label, count]) => `${label} ${count}`);
  const counts = classes.length > 12 ? `${classes.length} classes` : classes.join(", ");
  const aside = `${report.setAside.length} set aside`;
  const changes = describeChanges(report.changes, report.counts);
  const setAside = listed(report.setAside.map((item) => `${item.path}: ${item.code}: ${item.message}`));
  if (report.dry) {
    const first =
      changes.length === 0 ? `Nothing would change in ${out}` : `An import of ${report.source} would change ${out}; nothing was written`;
    return [`${first} (${counts}; ${aside}).`, ...changes, ...setAside].join("\n");
  }
  if (!report.changed) return `Nothing to do: the ${report.kept} images of ${report.source} are in ${out} already (${counts}; ${aside}).`;
  const speed = `${formatDuration(report.seconds)}, ${Math.round(report.filesPerSecond)} files/s`;
  const again = report.reused > 0 ? ` (${report.reused} were there already)` : "";
  return [
    `Imported ${report.kept} images of ${report.source} into ${out}${again} in ${speed}: ${counts}; ${aside}.`,
    ...(touchesOld(report.changes) ? changes : []),
    ...setAside,
  ].join("\n");
}

function describeCheck(check: DataCheck): string {
  const widest = Math.max(...check.classes.map(({ label }) => label.length));
  const most = Math.max(...check.classes.map(({ count }) => count));
  const balance = check.classes.map(({ label, count, share }) => {
    const bar = "█".repeat(Math.max(1, Math.round((count / most) * 40)));
    return `  ${label.padEnd(widest)}  ${bar} ${count} (${(share * 100).toFixed(1)} %)`;
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
