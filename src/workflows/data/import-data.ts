import { basename, dirname, join, relative, resolve } from "node:path";
import { stateDirectory } from "../../config/env.ts";
import { loadParams } from "../../config/params.ts";
import { ingest, type IngestReport } from "../../data/ingest.ts";
import { openSource } from "../../data/sources/open-source.ts";
import type { Preset } from "../../data/sources/preset.ts";
import type { Source } from "../../data/sources/source.ts";
import { rawDir } from "../../paths.ts";
import { guardFolders } from "../guard-folders.ts";
import { silentReporter, type Progress, type UseCaseOptions } from "../reporter.ts";

export interface ImportOptions extends UseCaseOptions {
  /** A zip, a folder, an http(s) URL, `preset:NAME` or `sample`; paths relative to `cwd`. Default: data.source of params.yaml. */
  readonly source?: string | undefined;
  /** data/raw; relative to `cwd`. The quarantine lies beside it. */
  readonly out?: string | undefined;
  /** Remembers what was imported, and keeps downloads. Default: SERVAL_STATE_DIR, else .serval. */
  readonly stateDir?: string | undefined;
  /** Other presets than the built-in ones. */
  readonly presets?: Readonly<Record<string, Preset>>;
  /** Links in `cwd` that may be written through, now and later. */
  readonly followLink?: readonly string[] | undefined;
}

/** Brings labelled images into data/raw. Files that are broken go to quarantine; the report names them. */
export async function importData(options: ImportOptions): Promise<IngestReport> {
  const { cwd, out = rawDir, stateDir = stateDirectory(), reporter = silentReporter, signal } = options;
  const outDir = resolve(cwd, out);
  const folders = [out, join(dirname(out), "quarantine"), join(stateDir, "import"), join(stateDir, "downloads")];
  const guard = await guardFolders(cwd, options.followLink ?? [], folders);
  const wanted = options.source ?? (await loadParams(cwd)).data.source;
  const source = await openWithProgress({ ...options, source: wanted, stateDir });
  const progress = reporter.progress("Importing", source.count, "files");
  try {
    return await ingest(source, {
      outDir,
      quarantineDir: join(dirname(outDir), "quarantine"),
      journalPath: resolve(cwd, stateDir, "import", `${journalName(cwd, outDir)}.jsonl`),
      guard,
      ...(signal && { signal }),
      onProgress: (done) => progress.update(done),
    });
  } finally {
    progress.end();
    await source.close();
  }
}

async function openWithProgress(options: ImportOptions & { readonly source: string }): Promise<Source> {
  const { cwd, source, stateDir, presets, reporter = silentReporter, signal } = options;
  let progress: Progress | undefined;
  try {
    return await openSource(source, {
      cwd,
      stateDir,
      signal,
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
