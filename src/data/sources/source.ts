import type { Readable } from "node:stream";
import { ServalError, type ErrorCode } from "../../errors/serval-error.ts";
import { readLayout, type Layout, type LayoutInput, type Placement } from "../layout/layout.ts";
import type { Split } from "../split-names.ts";

/** One file of a source, before anyone has looked into it. */
export interface SourceEntry {
  /** Its path in the source, forward slashes, NFC. Unique within the source. */
  readonly name: string;
  /** Its class, by the rule of layout.ts; undefined where the file has none. */
  readonly label: string | undefined;
  /** Where an import puts it, relative to data/raw: `label/name`. */
  readonly path: string | undefined;
  /** The split that the source has it in, where it has several. */
  readonly split?: Split;
  /** Why it has no class, as the end of a sentence that begins with its name. */
  readonly reason?: string;
  /** Why it cannot be read: it is set aside without a try. */
  readonly fault?: { readonly code: ErrorCode; readonly message: string };
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
  /** How its folders were understood, a line each, for people. */
  readonly tree: readonly string[];
  /** What was passed over, joined or guessed, a sentence each. */
  readonly remarks: readonly string[];
  /** What to do where no picture has a class. */
  readonly hint?: string;
  /** The absolute folder, where the entries are files in one. */
  readonly folder?: string;
  entries(): AsyncIterable<SourceEntry>;
  close(): Promise<void>;
}

/** What all kinds of sources that have folders may be told. */
export type LabelOptions = Pick<LayoutInput, "labelsFrom">;

/** The layout of a source. Throws E_SOURCE_EMPTY where its folders give no classes that could be meant. */
export function layoutOf(title: string, input: LayoutInput): Layout {
  const layout = readLayout(input);
  if (layout.refusal === undefined) return layout;
  const { message, hint } = layout.refusal;
  throw new ServalError("E_SOURCE_EMPTY", `"${title}" gives no classes: ${message}.`, { hint });
}

/** The part of an entry that its place gives. */
export function placed(name: string, layout: Layout): Pick<SourceEntry, "label" | "path" | "split" | "reason"> {
  const placement: Placement | undefined = layout.place(name);
  if (placement === undefined) return { label: undefined, path: undefined, reason: layout.reasonFor(name) };
  const { label, rest, split } = placement;
  return { label, path: `${label}/${rest}`, ...(split !== undefined && { split }) };
}

/** Reads an entry to its end and refuses more than `maxBytes`, whatever the source declared. */
export async function readEntry(entry: Pick<SourceEntry, "name" | "sizeBytes" | "open">, maxBytes: number): Promise<Uint8Array> {
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
