import { basename, dirname, join, relative, resolve } from "node:path";
import { ingest, type IngestReport } from "../../data/ingest.ts";
import { openSource } from "../../data/sources/open-source.ts";
import type { CommandContext, Configure } from "../command.ts";
import { formatDuration, type Output } from "../output.ts";

export interface ImportOptions {
  /** The working repository; `.serval/` in it remembers what was imported. */
  readonly cwd: string;
  /** A zip, a folder, an http(s) URL or `sample`; paths relative to `cwd`. */
  readonly source: string;
  /** data/raw; relative to `cwd`. The quarantine lies beside it. */
  readonly out?: string | undefined;
}

export const configure: Configure = (command, context) => {
  configureImport(
    command.command("import").description("Bring in labelled images from a zip, a folder, a URL or the drawn sample."),
    context,
  );
};

const configureImport: Configure = (command, context: CommandContext) => {
  command
    .argument("<SOURCE>", "a zip, a folder with one subfolder per class, an http(s) URL of a zip, or `sample`")
    .option("--out <DIR>", "where the images go", "data/raw")
    .option("--json", "print the result as JSON")
    .action(async (source: string, options: { out: string; json?: boolean }) => {
      const output = context.output(options);
      const report = await importData({ cwd: context.cwd, source, out: options.out }, output, context.signal);
      output.result(report, describeImport(report, options.out));
    });
};

/** Imports a source into data/raw with a progress bar. */
export async function importData(options: ImportOptions, output: Output, signal?: AbortSignal): Promise<IngestReport> {
  const outDir = resolve(options.cwd, options.out ?? "data/raw");
  const source = await openSource(options.source === "sample" ? "sample" : resolve(options.cwd, options.source));
  const progress = output.progress("Importing", source.count, "files");
  try {
    return await ingest(source, {
      outDir,
      quarantineDir: join(dirname(outDir), "quarantine"),
      journalPath: join(options.cwd, ".serval", "import", `${journalName(options.cwd, outDir)}.jsonl`),
      ...(signal && { signal }),
      onProgress: (done) => progress.update(done),
    });
  } finally {
    progress.end();
    await source.close();
  }
}

function journalName(cwd: string, outDir: string): string {
  return relative(cwd, outDir).replaceAll(/[^A-Za-z0-9.-]+/g, "-") || basename(outDir);
}

function describeImport(report: IngestReport, out: string): string {
  const classes = Object.entries(report.counts).map(([label, count]) => `${label} ${count}`);
  const counts = classes.length > 12 ? `${classes.length} classes` : classes.join(", ");
  const aside = `${report.setAside.length} set aside`;
  if (!report.changed) return `Nothing to do: the ${report.kept} images of ${report.source} are in ${out} already (${counts}; ${aside}).`;
  const speed = `${formatDuration(report.seconds)}, ${Math.round(report.filesPerSecond)} files/s`;
  const again = report.reused > 0 ? ` (${report.reused} were there already)` : "";
  return [
    `Imported ${report.kept} images of ${report.source} into ${out}${again} in ${speed}: ${counts}; ${aside}.`,
    ...report.setAside.slice(0, 10).map((item) => `  ${item.path}: ${item.code}: ${item.message}`),
    ...(report.setAside.length > 10 ? [`  and ${report.setAside.length - 10} more in data/quarantine/report.jsonl`] : []),
  ].join("\n");
}
