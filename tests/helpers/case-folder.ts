import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { runCli } from "../../src/cli/main.ts";
import type { IngestReport } from "../../src/data/ingest.ts";
import { readManifest, type ManifestRow } from "../../src/data/manifest.ts";
import { jpeg } from "./pictures.ts";
import { recordedContext } from "./recorded-output.ts";
import { zipFile, type ZipPart } from "./zip-file.ts";

export const caseInputs: string = join(import.meta.dirname, "../fixtures/cases");

export interface Imported {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly counts: IngestReport["counts"];
  /** Paths of what was set aside, sorted. */
  readonly aside: readonly string[];
  readonly report: IngestReport | undefined;
}

/** A new working folder, in which commands run as a user would run them. */
export class CaseFolder {
  readonly dir: string;

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async make(): Promise<CaseFolder> {
    return new CaseFolder(await mkdtemp(join(tmpdir(), "serval-case-")));
  }

  /** A folder within another one, which removes it. */
  static async at(dir: string): Promise<CaseFolder> {
    await mkdir(dir, { recursive: true });
    return new CaseFolder(dir);
  }

  async remove(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }

  path(...parts: readonly string[]): string {
    return join(this.dir, ...parts);
  }

  async put(path: string, bytes: Uint8Array | string): Promise<void> {
    await mkdir(dirname(this.path(path)), { recursive: true });
    await writeFile(this.path(path), bytes);
  }

  /** Small pictures, each different, under these paths. */
  async pictures(...paths: readonly string[]): Promise<void> {
    for (const path of paths) await this.put(path, await picture(path));
  }

  async zip(name: string, parts: readonly ZipPart[]): Promise<void> {
    await this.put(name, zipFile(parts));
  }

  async run(...argv: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const context = recordedContext(this.dir);
    const code = await runCli(argv, context);
    return { code, stdout: context.stdout.text, stderr: context.stderr.text };
  }

  /** `serval data import --json`. */
  async import(...argv: readonly string[]): Promise<Imported> {
    const ran = await this.run("data", "import", ...argv, "--json");
    const report = ran.code === 0 ? (JSON.parse(ran.stdout) as IngestReport) : undefined;
    return { ...ran, report, counts: report?.counts ?? {}, aside: (report?.setAside ?? []).map(({ path }) => path).sort() };
  }

  async rows(): Promise<readonly ManifestRow[]> {
    return (await readManifest(this.path("data/raw"))).rows;
  }

  async read(path: string): Promise<Buffer> {
    return await readFile(this.path(path));
  }
}

const drawn = new Map<string, Promise<Buffer>>();

/** A small picture that depends on its seed alone. */
export async function picture(seed: string): Promise<Buffer> {
  const found = drawn.get(seed) ?? jpeg(seed, 24, 18);
  drawn.set(seed, found);
  return await found;
}

/** `count` paths `FOLDER/0.jpg`, `FOLDER/1.jpg`, … */
export function numbered(folder: string, count = 4): string[] {
  return Array.from({ length: count }, (_, i) => `${folder}/${i}.jpg`);
}
