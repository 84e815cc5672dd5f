import { open } from "node:fs/promises";
import { buffer } from "node:stream/consumers";
import { ServalError } from "../errors/serval-error.ts";

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "does not exist",
  ENOTDIR: "does not exist",
  EISDIR: "is a folder; expected an image file",
  EACCES: "may not be read",
  ENAMETOOLONG: "is too long for a file name",
};

/**
 * The bytes of a picture file, which share their memory with nothing. At most one byte more than an image may have: a longer one is
 * refused anyway. Throws E_FILE_NOT_FOUND, and what the disk throws.
 */
export async function readPictureFile(path: string, maxBytes: number): Promise<Uint8Array> {
  try {
    const file = await open(path, "r");
    try {
      const found = await file.stat();
      // A pipe does not say how long it is.
      if (!found.isFile()) return await buffer(file.createReadStream({ end: maxBytes, autoClose: false }));
      const bytes = new Uint8Array(Math.min(found.size, maxBytes + 1));
      let filled = 0;
      while (filled < bytes.length) {
        const { bytesRead } = await file.read(bytes, filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      return filled === bytes.length ? bytes : bytes.slice(0, filled);
    } finally {
      await file.close();
    }
  } catch (error) {
    const reason = reasons[(error as NodeJS.ErrnoException).code ?? ""];
    if (reason === undefined) throw error;
    throw new ServalError("E_FILE_NOT_FOUND", `${path} ${reason}.`, { cause: error });
  }
}
