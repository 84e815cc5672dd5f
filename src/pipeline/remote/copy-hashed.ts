import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { ServalError } from "../../errors.ts";

/** Writes a stream to a file, synced, and gives the MD5 of its bytes. What a try before this one left there is replaced. */
export async function copyHashed(source: AsyncIterable<Uint8Array>, path: string, moved: () => void): Promise<string> {
  const digest = createHash("md5");
  const file = await open(path, "w");
  try {
    for await (const chunk of source) {
      moved();
      digest.update(chunk);
      await file.writeFile(chunk);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return digest.digest("hex");
}

/**
 * The bytes of an object of the cache. The last piece is given only after all of them proved to be what the name says: whoever
 * waits for the announced length never gets the whole of a damaged object. Throws E_CACHE_CORRUPT.
 */
export async function* readChecked(md5: string, path: string, moved: () => void): AsyncGenerator<Uint8Array> {
  const digest = createHash("md5");
  let held: Uint8Array | undefined;
  for await (const chunk of createReadStream(path, { highWaterMark: 256 << 10 }) as AsyncIterable<Buffer>) {
    moved();
    digest.update(chunk);
    if (held !== undefined) yield held;
    held = chunk;
  }
  const found = digest.digest("hex");
  if (found !== md5.slice(0, 32)) {
    throw new ServalError("E_CACHE_CORRUPT", `"${path}": expected the MD5 ${md5.slice(0, 32)}, got ${found}.`, { details: { md5, path } });
  }
  if (held !== undefined) yield held;
}
