import { randomUUID } from "node:crypto";
import { createReadStream, type ReadStream } from "node:fs";
import { mkdir, open, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import type { Readable } from "node:stream";
import { syncFolder } from "../../files.ts";
import { splitArtifactPath } from "./artifact-path.ts";
import { invalid, missing } from "./refusal.ts";

export interface FileInfo {
  /** Relative to what was listed. */
  readonly path: string;
  readonly is_dir: boolean;
  readonly file_size?: number;
}

/** A file that was found; `open` reads it as a stream. */
export interface ArtifactFile {
  readonly name: string;
  readonly sizeBytes: number;
  open(): ReadStream;
}

/** What a killed server left half written is removed by a later one, not by one that runs beside it. */
const abandonedAfterMs = 24 * 3600 * 1000;

/** Files of runs and models in a folder. Paths come from requests: they are checked here, and nowhere else used. */
export class ArtifactStore {
  readonly #root: string;
  readonly #uploads: string;

  private constructor(root: string, uploads: string) {
    this.#root = root;
    this.#uploads = uploads;
  }

  static async open(dir: string): Promise<ArtifactStore> {
    const [root, uploads] = [join(dir, "artifacts"), join(dir, "uploads")];
    await mkdir(root, { recursive: true });
    await mkdir(uploads, { recursive: true });
    for (const name of await readdir(uploads)) {
      const path = join(uploads, name);
      const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Infinity }));
      if (Date.now() - mtimeMs > abandonedAfterMs) await rm(path, { force: true });
    }
    return new ArtifactStore(await realpath(root), uploads);
  }

  /** The files and folders in a folder, by name; none where it is not there. */
  async list(path: string): Promise<FileInfo[]> {
    const dir = await this.#resolve(path);
    const entries = await readdir(dir, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ENOTDIR") return [];
      throw error;
    });
    const infos = entries.map(async (entry): Promise<FileInfo> => {
      if (entry.isDirectory()) return { path: entry.name, is_dir: true };
      const { size } = await stat(join(dir, entry.name));
      // protobuf leaves a zero out.
      return { path: entry.name, is_dir: false, ...(size > 0 && { file_size: size }) };
    });
    return (await Promise.all(infos)).sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  async find(path: string): Promise<ArtifactFile> {
    const file = await this.#resolve(path);
    const found = await stat(file).catch(() => undefined);
    if (found === undefined) throw missing(`There is no artifact ${JSON.stringify(path)}.`);
    if (!found.isFile()) throw invalid(`The artifact ${JSON.stringify(path)} is a folder; expected a file.`);
    return { name: basename(file), sizeBytes: found.size, open: () => createReadStream(file) };
  }

  /**
   * Writes a stream in constant memory: to a temporary first, so that an upload that is cut off leaves the old file, or none.
   */
  async write(path: string, content: Readable | undefined): Promise<void> {
    const target = await this.#resolve(path);
    if (target === this.#root) throw invalid("The artifact path names no file.");
    const temporary = join(this.#uploads, `${process.pid}-${randomUUID()}.tmp`);
    try {
      const file = await open(temporary, "wx");
      try {
        for await (const chunk of content?.iterator({ destroyOnReturn: false }) ?? []) await file.writeFile(chunk as Buffer);
        await file.sync();
      } finally {
        await file.close();
      }
      await mkdir(dirname(target), { recursive: true });
      await rename(temporary, target);
    } catch (error) {
      await rm(temporary, { force: true });
      // Read and dropped: what is still to come would hold the connection up.
      content?.resume();
      if (["EEXIST", "ENOTDIR", "EISDIR", "ENOTEMPTY"].includes((error as NodeJS.ErrnoException).code ?? "")) {
        throw invalid(
          `The artifact ${JSON.stringify(path)} cannot be written: a file stands where a folder is needed, or a folder where the file goes.`,
        );
      }
      throw error;
    }
    await syncFolder(dirname(target));
  }

  /** Removes a file, or a folder with all in it; what is not there is no error, as in MLflow. */
  async delete(path: string): Promise<void> {
    const target = await this.#resolve(path);
    if (target === this.#root) throw invalid("The artifact path is empty; expected the file or folder to delete.");
    await rm(target, { recursive: true, force: true });
  }

  /** Where a path lies, links followed: a link that leads out of the store is refused like a path that does. */
  async #resolve(path: string): Promise<string> {
    const target = resolve(this.#root, ...splitArtifactPath(path));
    let existing = target;
    let real: string | undefined;
    while (real === undefined) {
      real = await realpath(existing).catch(() => undefined);
      if (real === undefined) existing = dirname(existing);
    }
    if (real !== this.#root && !real.startsWith(this.#root + sep))
      throw invalid(`The artifact path ${JSON.stringify(path)} leads out of the store.`);
    return target;
  }
}
