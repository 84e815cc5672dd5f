import type { Readable } from "node:stream";
import { ServalError } from "../../errors/serval-error.ts";

/** One file of a source, before anyone has looked into it. */
export interface SourceEntry {
  /** Its path in the source, forward slashes, NFC. Unique within the source. */
  readonly name: string;
  /** Its class, by the rule of layout.ts; undefined where the file lies in no class folder. */
  readonly label: string | undefined;
  /** Where an import puts it, relative to data/raw: `label/name`. */
  readonly path: string | undefined;
  /** Changes when the bytes do; comparing it replaces reading the file again. */
  readonly version: string;
  /** As declared; undefined where it is not known before the entry is read. */
  readonly sizeBytes: number | undefined;
  open(): Promise<Readable>;
}

/** Where labelled pictures come from: zip, folder, URL or the drawn sample. */
export interface Source {
  /** Names the source in the import journal; two sources that can hold different files of one name differ in it. */
  readonly id: string;
  /** For people. */
  readonly title: string;
  /** How many entries there are. */
  readonly count: number;
  /** The absolute folder, where the entries are files in one. */
  readonly folder?: string;
  entries(): AsyncIterable<SourceEntry>;
  close(): Promise<void>;
}

/** Reads an entry to its end and refuses more than `maxBytes`, whatever the source declared. */
export async function readEntry(entry: SourceEntry, maxBytes: number): Promise<Uint8Array> {
  const tooLarge = (size: number): ServalError =>
    new ServalError(
      "E_IMAGE_BYTES",
      `"${entry.name}" has ${size === entry.sizeBytes ? "" : "more than "}${size} bytes; at most ${maxBytes} are read.`,
    );
  if (entry.sizeBytes !== undefined && entry.sizeBytes > maxBytes) throw tooLarge(entry.sizeBytes);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (await entry.open()) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}
