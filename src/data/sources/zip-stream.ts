import { basename } from "node:path";
import type { ZipFile } from "yauzl";
import { isHidden } from "../layout/entry-names.ts";
import type { SourceEntry } from "./source.ts";
import { archiveError, unreadable } from "./zip-directory.ts";
import { decodeName } from "./zip-names.ts";
import { openZipReader, type ZipReader } from "./zip-reader.ts";
import { openDirectory, openEntry } from "./zip.ts";

export interface StreamedEntry extends Pick<SourceEntry, "name" | "sizeBytes" | "open"> {
  /** Why its bytes cannot be had. */
  readonly fault: SourceEntry["fault"] | undefined;
}

/**
 * An archive that is read from its first entry to its last, as often as needed. `openZip` checks the whole directory before it gives
 * an entry, and has it in memory for that, about a kilobyte an entry. Here nothing is unpacked to a disk, so each entry is checked alone.
 */
export class ZipStream {
  readonly #title: string;
  readonly #sizeBytes: number;
  /** Reads ahead in the directory. */
  readonly #directory: ZipReader;
  /** Reads ahead in the entries, which lie elsewhere in the file. */
  readonly #content: ZipReader;

  private constructor(title: string, sizeBytes: number, directory: ZipReader, content: ZipReader) {
    this.#title = title;
    this.#sizeBytes = sizeBytes;
    this.#directory = directory;
    this.#content = content;
  }

  /** Throws E_ARCHIVE_CORRUPT where it is opened or read. */
  static async open(path: string): Promise<ZipStream> {
    const { reader, sizeBytes } = await openZipReader(path);
    try {
      return new ZipStream(basename(path), sizeBytes, reader, (await openZipReader(path)).reader);
    } catch (error) {
      await reader.closeFile();
      throw error;
    }
  }

  /** The files in it, in the order of its directory, without what systems and tools leave behind. */
  async *entries(): AsyncGenerator<StreamedEntry, void, undefined> {
    const directory = await openDirectory(this.#directory, this.#sizeBytes, this.#title);
    const content = await openDirectory(this.#content, this.#sizeBytes, this.#title);
    try {
      for await (const entry of directory.eachEntry()) {
        const name = decodeName(entry);
        if (name.endsWith("/") || isHidden(name)) continue;
        const open = async (): ReturnType<typeof openEntry> => await this.#open(content, { name, entry, end: this.#sizeBytes });
        yield { name, fault: unreadable(name, entry).fault, sizeBytes: entry.uncompressedSize, open };
      }
    } catch (error) {
      throw archiveError(this.#title, error);
    }
  }

  async close(): Promise<void> {
    await this.#directory.closeFile();
    await this.#content.closeFile();
  }

  async #open(content: ZipFile, item: Parameters<typeof openEntry>[3]): ReturnType<typeof openEntry> {
    return await openEntry(content, this.#content, this.#title, item);
  }
}
