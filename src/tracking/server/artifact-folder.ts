import { createReadStream, type ReadStream } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { splitArtifactPath } from "./artifact-path.ts";
import { invalid, missing, quote } from "./refusal.ts";

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

/** A folder that is read for clients. Paths come from requests: they are checked here. */
export class ArtifactFolder {
  /** Links followed. */
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** The files and folders in a folder, by name; none where it is not there. */
  async list(path: string): Promise<FileInfo[]> {
    const dir = await this.resolve(path);
    const entries = await readdir(dir, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
      if (["ENOENT", "ENOTDIR", "ENAMETOOLONG"].includes(error.code ?? "")) return [];
      throw error;
    });
    const infos = entries.map(async (entry): Promise<FileInfo[]> => {
      if (entry.isDirectory()) return [{ path: entry.name, is_dir: true }];
      const found = await stat(join(dir, entry.name)).catch(() => undefined);
      // Deleted since the folder was read, or a link to nothing.
      if (found === undefined) return [];
      // protobuf leaves a zero out.
      return [{ path: entry.name, is_dir: false, ...(found.size > 0 && { file_size: found.size }) }];
    });
    return (await Promise.all(infos)).flat().sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  async find(path: string): Promise<ArtifactFile> {
    const file = await this.resolve(path);
    const found = await stat(file).catch(() => undefined);
    if (found === undefined) throw missing(`There is no artifact ${quote(path)}.`);
    if (!found.isFile()) throw invalid(`The artifact ${quote(path)} is a folder; expected a file.`);
    return { name: basename(file), sizeBytes: found.size, open: () => createReadStream(file) };
  }

  /** Where a path lies, links followed: a link that leads out of the folder is refused like a path that does. */
  async resolve(path: string): Promise<string> {
    const target = resolve(this.root, ...splitArtifactPath(path));
    let existing = target;
    let real: string | undefined;
    while (real === undefined) {
      real = await realpath(existing).catch(() => undefined);
      if (real === undefined) existing = dirname(existing);
    }
    if (real !== this.root && !real.startsWith(this.root + sep)) throw invalid(`The artifact path ${quote(path)} leads out of the store.`);
    return target;
  }
}
