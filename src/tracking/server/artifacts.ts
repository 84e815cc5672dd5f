import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { syncFolder } from "../../files.ts";
import { ArtifactFolder } from "./artifact-folder.ts";
import { splitArtifactPath } from "./artifact-path.ts";
import { ArtifactQuota, defaultArtifactLimits, type ArtifactLimits, type Reservation } from "./artifact-quota.ts";
import { invalid, quote, refusal } from "./refusal.ts";

/** What a killed server left half written is removed by a later one, not by one that runs beside it. */
const abandonedAfterMs = 24 * 3600 * 1000;

/** The server's own folder for files of runs and models, which clients write to as well. */
export class ArtifactStore extends ArtifactFolder {
  readonly #uploads: string;
  readonly #quota: ArtifactQuota;

  private constructor(root: string, uploads: string, limits: ArtifactLimits) {
    super(root);
    this.#uploads = uploads;
    this.#quota = new ArtifactQuota(root, limits);
  }

  static async open(dir: string, limits: Partial<ArtifactLimits> = {}): Promise<ArtifactStore> {
    const [root, uploads] = [join(dir, "artifacts"), join(dir, "uploads")];
    await mkdir(root, { recursive: true });
    await mkdir(uploads, { recursive: true });
    for (const name of await readdir(uploads)) {
      const path = join(uploads, name);
      const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Infinity }));
      if (Date.now() - mtimeMs > abandonedAfterMs) await rm(path, { force: true });
    }
    return new ArtifactStore(await realpath(root), uploads, { ...defaultArtifactLimits, ...limits });
  }

  /**
   * Writes a stream in constant memory: to a temporary first, so that an upload that is cut off leaves the old file, or none.
   * Throws RESOURCE_EXHAUSTED where it is too large; what is still to come is then read and dropped, up to a limit.
   */
  async write(path: string, content: Readable | undefined, announcedBytes = 0): Promise<void> {
    try {
      const target = await this.resolve(path);
      if (target === this.root) throw invalid("The artifact path does not name a file.");
      const room = await this.#quota.reserve(splitArtifactPath(path), announcedBytes);
      try {
        const temporary = await this.#receive(content, room);
        room.keep(await this.#replace(target, temporary, path));
      } catch (error) {
        room.release();
        throw error;
      }
      await syncFolder(dirname(target));
    } catch (error) {
      if (content !== undefined) dropRest(content);
      throw error;
    }
  }

  /** Path of a temporary file with all of the content. */
  async #receive(content: Readable | undefined, room: Reservation): Promise<string> {
    const temporary = join(this.#uploads, `${process.pid}-${randomUUID()}.tmp`);
    const file = await open(temporary, "wx");
    try {
      for await (const chunk of content?.iterator({ destroyOnReturn: false }) ?? []) {
        await room.take((chunk as Buffer).length);
        await file.writeFile(chunk as Buffer);
      }
      await file.sync();
      await file.close();
      return temporary;
    } catch (error) {
      await file.close();
      await rm(temporary, { force: true });
      if (content?.errored) throw refusal("BAD_REQUEST", "The upload ended before the file was complete.", error);
      throw error;
    }
  }

  /** Moves the temporary to its place, and returns the size of the file that was there. */
  async #replace(target: string, temporary: string, path: string): Promise<number> {
    try {
      await mkdir(dirname(target), { recursive: true });
      const replaced = await stat(target).catch(() => undefined);
      await rename(temporary, target);
      return replaced?.size ?? 0;
    } catch (error) {
      await rm(temporary, { force: true });
      const { code = "" } = error as NodeJS.ErrnoException;
      if (code === "ENAMETOOLONG") throw invalid(`The artifact path ${quote(path)} is too long for the file system.`);
      if (!["EEXIST", "ENOTDIR", "EISDIR", "ENOTEMPTY"].includes(code)) throw error;
      throw invalid(`The artifact ${quote(path)} cannot be written: there is a file where a folder is needed, or a folder in its place.`);
    }
  }

  /** Removes a file, or a folder with all in it; what is not there is not an error, as in MLflow. */
  async delete(path: string): Promise<void> {
    const target = await this.resolve(path);
    if (target === this.root) throw invalid("The artifact path is empty; expected the file or folder to delete.");
    await rm(target, { recursive: true, force: true });
    this.#quota.countAgain();
  }
}

/** A client that is refused reads the answer when it has sent what it has; one that never ends is cut off. */
const maxDropBytes = 64 * 1024 ** 2;
const maxDropMs = 10_000;

function dropRest(content: Readable): void {
  if (content.readableEnded || content.destroyed) return;
  let dropped = 0;
  const cutOff = setTimeout(() => content.destroy(), maxDropMs);
  cutOff.unref();
  content.on("data", (chunk: Buffer) => {
    dropped += chunk.length;
    if (dropped > maxDropBytes) content.destroy();
  });
  content.on("error", () => undefined);
  content.once("close", () => clearTimeout(cutOff));
}
