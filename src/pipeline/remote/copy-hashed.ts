import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { ServalError } from "../../errors/serval-error.ts";
import { cacheMode } from "../cache/file-work.ts";
import type { RemoteRequest } from "./remote.ts";

const pieceBytes = 256 << 10;

/**
 * Writes a stream to a new file, read-only as objects are and synced, and gives the MD5 of its bytes. It stops at `maxBytes`, and then
 * gives a text that says so: whatever the rest may be, these are not the bytes that were asked for.
 */
export async function copyHashed(
  source: AsyncIterable<Uint8Array>,
  path: string,
  maxBytes: number,
  moved: (bytes: number) => void,
): Promise<string> {
  const digest = createHash("md5");
  let bytes = 0;
  const file = await open(path, "wx");
  try {
    for await (const piece of source) {
      moved(piece.length);
      bytes += piece.length;
      if (bytes > maxBytes) return `more than the ${maxBytes} bytes that are recorded`;
      digest.update(piece);
      await file.writeFile(piece);
    }
    // A courtesy to other tools: file systems without modes take none.
    await file.chmod(cacheMode).catch(() => undefined);
    await file.sync();
  } finally {
    await file.close();
  }
  return digest.digest("hex");
}

/** The bytes of a file. A stream of Node's would take a large buffer for each small file, and spend its time in collecting them. */
export async function* readPieces(path: string, { signal, moved }: RemoteRequest): AsyncGenerator<Uint8Array> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    for (let at = 0; at < size;) {
      signal.throwIfAborted();
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(Math.min(pieceBytes, size - at)));
      if (bytesRead === 0) return;
      moved(bytesRead);
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/**
 * The bytes of an object of the cache. The last piece is given only after all of them were found to match the name: a reader that
 * waits for the announced length never gets the whole of a damaged object. Throws E_CACHE_CORRUPT.
 */
export async function* readChecked(md5: string, path: string, request: RemoteRequest): AsyncGenerator<Uint8Array> {
  const digest = createHash("md5");
  let held: Uint8Array | undefined;
  for await (const piece of readPieces(path, request)) {
    digest.update(piece);
    if (held !== undefined) yield held;
    held = piece;
  }
  const found = digest.digest("hex");
  if (found !== md5.slice(0, 32)) {
    throw new ServalError("E_CACHE_CORRUPT", `"${path}": expected the MD5 ${md5.slice(0, 32)}, got ${found}.`, { details: { md5, path } });
  }
  if (held !== undefined) yield held;
}
