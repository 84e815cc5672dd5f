import { crc32 } from "node:zlib";
import yauzl, { type Entry } from "yauzl";
import { ServalError } from "../../errors/serval-error.ts";

export interface DecodedNames {
  /** In the order of the entries, `/` between folders, NFC. */
  readonly names: readonly string[];
  /** Why the names may be wrong, with one of them, and what to do. */
  readonly remark?: string;
}

/** Encodings whose names are tried for the remark, by what people's archives are written in. */
const likely = ["gbk", "shift_jis", "big5", "euc-kr", "windows-1251"];
/** What Windows and Python call encodings that the Encoding standard knows by another name. */
const aliases: Readonly<Record<string, string>> = { cp932: "shift_jis", cp936: "gbk", cp949: "euc-kr", cp950: "big5" };
const ibm = /^(?:cp|ibm)?437$/i;
const utf8Flag = 0x800;
const unicodePathField = 0x7075;

/**
 * The names of all entries (APPNOTE 4.4.4, appendix D, and 4.6.9). A name that is not marked as UTF-8 still counts as UTF-8 where all
 * such names of the archive can be, as macOS writes them; else it has `encoding`, by its name in the Encoding standard. Without one it
 * is read as code page 437, which the format prescribes and hardly any packer keeps to. Names are looked at together: a short name of another
 * encoding may happen to be UTF-8. Throws E_USAGE, and E_ARCHIVE_CORRUPT for a name that is not in `encoding`.
 */
export function decodeNames(title: string, entries: readonly Entry[], encoding?: string): DecodedNames {
  const given = encoding === undefined ? undefined : openDecoder(encoding);
  const certain = entries.map(certainName);
  const open = entries.filter((_, i) => certain[i] === undefined).map((entry) => entry.fileNameRaw);
  const asUtf8 = open.map((raw) => decodeStrictly("utf-8", raw));
  const isUtf8 = asUtf8.every((name) => name !== undefined) && !(given !== undefined && mayBeChance(asUtf8.join(""), given, open));
  const finish = (decode: (raw: Buffer) => string): string[] =>
    entries.map((entry, i) => (certain[i] ?? decode(entry.fileNameRaw)).normalize("NFC"));
  if (open.length === 0 || isUtf8)
    return {
      names: withSlashes(
        finish((raw) => raw.toString("utf8")),
        true,
      ),
    };
  if (given === "cp437") return { names: withSlashes(finish(codePage437), false) };
  if (given !== undefined) {
    const decode = (raw: Buffer): string => {
      const name = decodeStrictly(given, raw);
      if (name !== undefined) return name;
      const shown = JSON.stringify(codePage437(raw));
      throw new ServalError("E_ARCHIVE_CORRUPT", `"${title}" holds a name that is not ${given}: ${shown}.`, {
        hint: "Give another --zip-encoding.",
      });
    };
    return { names: withSlashes(finish(decode), true) };
  }
  return { names: withSlashes(finish(codePage437), false), remark: describeGuess(title, open) };
}

/** The name of one entry, where the others are not known: UTF-8 where it can be, else code page 437. */
export function decodeName(entry: Entry): string {
  const name = certainName(entry) ?? decodeStrictly("utf-8", entry.fileNameRaw);
  return withSlashes([name ?? codePage437(entry.fileNameRaw)], name !== undefined)[0]!.normalize("NFC");
}

function certainName({ fileNameRaw, generalPurposeBitFlag, extraFields }: Entry): string | undefined {
  if (fileNameRaw.every((byte) => byte < 0x80)) return fileNameRaw.toString("latin1");
  if ((generalPurposeBitFlag & utf8Flag) !== 0) return decodeStrictly("utf-8", fileNameRaw);
  const field = extraFields.find(({ id, data }) => id === unicodePathField && data.length > 5 && data[0] === 1);
  if (field === undefined || field.data.readUInt32LE(1) !== crc32(fileNameRaw)) return undefined;
  return decodeStrictly("utf-8", field.data.subarray(5));
}

function openDecoder(encoding: string): string {
  if (ibm.test(encoding)) return "cp437";
  try {
    return new TextDecoder(aliases[encoding.toLowerCase()] ?? encoding).encoding;
  } catch (error) {
    throw new ServalError("E_USAGE", `--zip-encoding: "${encoding}" is not an encoding; expected one such as ${likely.join(", ")}.`, {
      cause: error,
    });
  }
}

/** Undefined where the bytes are not of the encoding. */
function decodeStrictly(encoding: string, raw: Buffer): string | undefined {
  try {
    return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(raw);
  } catch {
    return undefined;
  }
}

/**
 * Whether names that can be UTF-8 are more likely of the encoding that the user named. Two bytes of an East Asian character may be an accented letter,
 * `è`, in UTF-8. Text of such scripts in UTF-8 has three bytes a character, and macOS writes an accent as a separate character.
 */
function mayBeChance(text: string, given: string, open: readonly Buffer[]): boolean {
  if (given === "utf-8" || given === "cp437" || /[\u0300-\u036f\u0800-\uffff]/.test(text)) return false;
  return open.length > 0 && open.every((raw) => /[\u0800-\uffff]/.test(decodeStrictly(given, raw) ?? ""));
}

function codePage437(raw: Buffer): string {
  return yauzl.getFileNameLowLevel(0, raw, [], true);
}

/**
 * Programs on Windows have written `\` between folders. In a name that was guessed it may be half of a character: there it counts only
 * where the name has no `/`.
 */
function withSlashes(names: readonly string[], certain: boolean): string[] {
  return names.map((name) => (certain || !name.includes("/") ? name.replaceAll("\\", "/") : name));
}

function describeGuess(title: string, open: readonly Buffer[]): string {
  const raw = open.find((name) => name.length > 0) ?? Buffer.alloc(0);
  const shown = likely.flatMap((encoding) => {
    const readable = open.every((name) => decodeStrictly(encoding, name) !== undefined);
    return readable ? [`${encoding} "${decodeStrictly(encoding, raw)}"`] : [];
  });
  const others = shown.length > 0 ? ` It would be in ${shown.join(", ")}.` : "";
  return `"${title}" does not say how its names are written, and they are not UTF-8: "${codePage437(raw)}" is a guess (cp437).${others} If the name is wrong, import again with --zip-encoding.`;
}
