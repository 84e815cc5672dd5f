import { basename, dirname, join, relative, resolve } from "node:path";
import { stateDirectory } from "../../config/env.ts";
import { loadParams } from "../../config/params.ts";
import { readCorrections } from "../../data/corrections.ts";
import { ingest, type IngestReport } from "../../data/ingest.ts";
import type { LabelsFrom } from "../../data/layout/layout.ts";
import { describeSource } from "../../data/sources/describe-source.ts";
import { openSource } from "../../data/sources/open-source.ts";
import type { Preset } from "../../data/sources/preset.ts";
import type { Source } from "../../data/sources/source.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { readIfThere } from "../../files.ts";
import { cacheFolders } from "../../pipeline/dvc-files/cache-folders.ts";
import { correctionsFile, paramsFile, rawDir } from "../../paths.ts";
import { guardFolders } from "../guard-folders.ts";
import { silentReporter, type Progress, type UseCaseOptions } from "../reporter.ts";

export interface ImportOptions extends UseCaseOptions {
  /** A zip, a folder, an http(s) URL, `preset:NAME` or `sample`; paths relative to `cwd`. Default: data.source of params.yaml. */
  readonly source?: string | undefined;
  /** data/raw; relative to `cwd`. The quarantine lies beside it. */
  readonly out?: string | undefined;
  /** Remembers what was imported, and keeps downloads. Default: SERVAL_STATE_DIR, else .serval. */
  readonly stateDir?: string | undefined;
  /** Where labels come from; default: folders. */
  readonly labelsFrom?: LabelsFrom | undefined;
  /** How names in a zip are written that are not UTF-8. */
  readonly zipEncoding?: string | undefined;
  /** Says what would change and writes nothing. */
  readonly dry?: boolean | undefined;
  /** Other presets than the built-in ones. */
  readonly presets?: Readonly<Record<string, Preset>>;
  /** Links in `cwd` that may be written through, now and later. */
  readonly followLink?: readonly string[] | undefined;
}

/**
 * Brings labelled images into data/raw, and says before it begins how it understood the source. Files that are broken go to quarantine; the
 * report names them.
 */
export async function importData(options: ImportOptions): Promise<IngestReport> {
  const { cwd, out = rawDir, stateDir = stateDirectory(), reporter = silentReporter, signal } = options;
  const outDir = resolve(cwd, out);
  const folders = [out, join(dirname(out), "quarantine"), join(stateDir, "import"), join(stateDir, "downloads")];
  const dry = options.dry ?? false;
  const guard = await guardFolders(cwd, options.followLink ?? [], dry ? [] : folders);
  const source = await openWithProgress({ ...options, source: options.source ?? (await sourceOfParams(cwd)), stateDir });
  for (const line of describeSource(source)) reporter.warn(line);
  // Beside data/raw, wherever that is.
  const { lines: corrections } = await readCorrections(join(dirname(outDir), basename(correctionsFile)));
  const progress = reporter.progress(dry ? "Looking" : "Importing", source.count, "files");
  try {
    const report = await ingest(source, {
      outDir,
      quarantineDir: join(dirname(outDir), "quarantine"),
      journalPath: resolve(cwd, stateDir, "import", `${journalName(cwd, outDir)}.jsonl`),
      guard,
      corrections,
      dry,
      ...(signal && { signal }),
      onProgress: (done) => progress.update(done),
    });
    progress.end();
    for (const remark of report.remarks.filter((remark) => !source.remarks.includes(remark))) reporter.warn(remark);
    return report;
  } finally {
    progress.end();
    await source.close();
  }
}

/** data.source of params.yaml. Throws E_USAGE where it says nothing of one: the default, the sample, would hardly be meant. */
async function sourceOfParams(cwd: string): Promise<string> {
  const { source } = (await loadParams(cwd)).data;
  const text = await readIfThere(join(cwd, paramsFile));
  if (text !== undefined && /\bsource["']?\s*:/.test(text)) return source;
  const missing = text === undefined ? `there is no ${paramsFile} in this folder that names one` : `${paramsFile} has no data.source`;
  throw new ServalError("E_USAGE", `No source was given, and ${missing}.`, {
    hint: "Name a zip or a folder with one subfolder per class: `serval data import photos`. `serval data import sample` draws a set of pictures to try the commands on.",
  });
}

async function openWithProgress(options: ImportOptions & { readonly source: string }): Promise<Source> {
  const { cwd, source, stateDir, presets, labelsFrom, zipEncoding, reporter = silentReporter, signal } = options;
  let progress: Progress | undefined;
  try {
    return await openSource(source, {
      cwd,
      stateDir,
      signal,
      labelsFrom,
      zipEncoding,
      linkRoots: await cacheFolders(cwd, source),
      ...(presets && { presets }),
      onDownload: (done, total) => {
        progress ??= reporter.progress("Downloading", Math.ceil(total / 1e6), "MB");
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
