/** Something that is not a picture that Serval reads, as the end of "The file is". */
export interface KnownFormat {
  readonly name: string;
  /** The short name, for counts: `HEIC 12`. */
  readonly short: string;
  /** What to do about it: a sentence. */
  readonly remedy: string;
}

const convert = "Save it as JPEG or PNG.";
const heic = "Convert it to JPEG (on a Mac `sips -s format jpeg`, elsewhere `heif-convert` or `magick mogrify -format jpg`).";
const rawPhoto = "Develop it to JPEG with the program of the camera.";
const download = "It was saved in place of the picture: download the picture again, and look at its address.";
const unpack = "Unpack it first.";
const still = "Save a frame of it as JPEG or PNG.";

/** Where the first bytes are enough: offset, bytes as Latin-1 text, name with article, short name, remedy. */
const magics: readonly (readonly [at: number, magic: string, name: string, short: string, remedy: string])[] = [
  [0, "II*\0\x10\0\0\0CR", "a raw photograph (CR2)", "CR2", rawPhoto],
  [0, "II*\0", "a TIFF picture", "TIFF", convert],
  [0, "MM\0*", "a TIFF picture", "TIFF", convert],
  [0, "II+\0", "a TIFF picture (BigTIFF)", "TIFF", convert],
  [0, "MM\0+", "a TIFF picture (BigTIFF)", "TIFF", convert],
  [0, "II\xbc\x01", "a JPEG XR picture", "JPEG XR", convert],
  [0, "IIRO", "a raw photograph (ORF)", "ORF", rawPhoto],
  [0, "IIRS", "a raw photograph (ORF)", "ORF", rawPhoto],
  [0, "IIU\0", "a raw photograph (RW2)", "RW2", rawPhoto],
  [0, "FUJIFILMCCD-RAW", "a raw photograph (RAF)", "RAF", rawPhoto],
  [0, "FOVb", "a raw photograph (X3F)", "X3F", rawPhoto],
  [0, "\xff\x0a", "a JPEG XL picture", "JPEG XL", convert],
  [0, "\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture", "JPEG XL", convert],
  [0, "\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture", "JPEG 2000", convert],
  [0, "\xffO\xffQ", "a JPEG 2000 picture", "JPEG 2000", convert],
  [0, "8BPS", "a Photoshop document (PSD)", "PSD", convert],
  [0, "gimp xcf", "a GIMP document (XCF)", "XCF", convert],
  [0, "\0\0\x01\0", "an icon (ICO)", "ICO", convert],
  [0, "\0\0\x02\0", "a cursor (CUR)", "CUR", convert],
  [0, "DDS ", "a DDS texture", "DDS", convert],
  [0, "v/1\x01", "an OpenEXR picture", "OpenEXR", convert],
  [0, "#?RADIANCE", "a Radiance HDR picture", "HDR", convert],
  [0, "qoif", "a QOI picture", "QOI", convert],
  [0, "\xd7\xcd\xc6\x9a", "a Windows metafile (WMF)", "WMF", convert],
  [128, "DICM", "a DICOM file", "DICOM", convert],
  [0, "SIMPLE  =", "a FITS file", "FITS", convert],
  [0, "%PDF", "a PDF document", "PDF", "Save its pages as JPEG or PNG."],
  [0, "%!PS", "a PostScript document", "PostScript", "Save its pages as JPEG or PNG."],
  [0, "\xc5\xd0\xd3\xc6", "a PostScript document (EPS)", "PostScript", "Save its pages as JPEG or PNG."],
  [0, "PK\x03\x04", "a zip archive (or an Office document)", "zip", unpack],
  [0, "PK\x05\x06", "an empty zip archive", "zip", unpack],
  [0, "Rar!\x1a\x07", "a RAR archive", "RAR", unpack],
  [0, "7z\xbc\xaf\x27\x1c", "a 7z archive", "7z", unpack],
  [0, "\x1f\x8b", "compressed with gzip", "gzip", unpack],
  [0, "BZh", "compressed with bzip2", "bzip2", unpack],
  [0, "\xfd7zXZ\0", "compressed with xz", "xz", unpack],
  [0, "\x28\xb5\x2f\xfd", "compressed with Zstandard", "Zstandard", unpack],
  [257, "ustar", "a tar archive", "tar", unpack],
  [0, "\x1aE\xdf\xa3", "a video (Matroska or WebM)", "video", still],
  [0, "OggS", "an Ogg file", "Ogg", still],
  [0, "FLV\x01", "a video (FLV)", "video", still],
  [0, "\0\0\x01\xba", "a video (MPEG)", "video", still],
  [0, "\0\0\x01\xb3", "a video (MPEG)", "video", still],
  [0, "\0\x05\x16\x07", "the side file of a Mac (AppleDouble, `._NAME`)", "AppleDouble", "Delete it: the picture is beside it."],
  [0, "\0\x05\x16\0", "a Mac resource file (AppleSingle)", "AppleSingle", "Copy the picture itself."],
  [0, "L\0\0\0\x01\x14\x02\0", "a Windows shortcut", "shortcut", "Copy the picture that it leads to."],
  [0, "SQLite format 3\0", "a database (SQLite)", "SQLite", "Leave it out."],
  [0, "\x93NUMPY", "a NumPy array", "NumPy", convert],
  [0, "\x89HDF\r\n", "an HDF5 file", "HDF5", convert],
  [0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document or thumbnail database of Windows (OLE)", "OLE", "Leave it out."],
];

/** Brands of the ISO base media format (ISO/IEC 14496-12) that hold a picture; every other brand is a video. */
const brands: Readonly<Record<string, readonly [name: string, short: string, remedy: string]>> = {
  avif: ["an AVIF picture", "AVIF", convert],
  avis: ["an AVIF animation", "AVIF", convert],
  crx: ["a raw photograph (CR3)", "CR3", rawPhoto],
  ...Object.fromEntries(
    ["heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs"].map((brand) => [brand, ["a HEIC picture", "HEIC", heic] as const]),
  ),
};

/** Texts, by how they begin once blanks are off. */
const texts: readonly (readonly [begins: RegExp, name: string, short: string, remedy: string])[] = [
  [
    /^version https:\/\/(?:git-lfs\.github\.com|hawser\.github\.com)\/spec\//,
    "a Git LFS pointer",
    "Git LFS pointer",
    "Fetch the pictures with `git lfs pull`.",
  ],
  [/^(?:\.\.\/)*(?:\.git|\/)\S*annex\/objects\//, "a git-annex pointer", "git-annex pointer", "Fetch the pictures with `git annex get`."],
  [/^\/annex\/objects\//, "a git-annex pointer", "git-annex pointer", "Fetch the pictures with `git annex get`."],
  [/^outs:\s+- /, "a DVC pointer", "DVC pointer", "Fetch the pictures with `serval pull`."],
  [/^(?:<\?xml[^>]*>\s*)?(?:<!--[\s\S]{0,400}?-->\s*)*(?:<!doctype svg[^>]*>\s*)?<svg[\s>]/i, "an SVG drawing", "SVG", "Save it as PNG."],
  [
    /^(?:<\?xml[^>]*>\s*)?(?:<!--[\s\S]{0,400}?-->\s*)*(?:<!doctype html|<html|<head|<body|<script|<meta)/i,
    "an HTML page",
    "HTML",
    download,
  ],
  [/^<\?xml/i, "an XML document", "XML", download],
  [/^\{\s*"|^\[\s*[[{"]/, "a JSON document", "JSON", download],
  [/^data:image\//, "a picture as text (a data URL)", "data URL", "Decode the text after the comma (base64)."],
  [/^(?:\/9j\/|iVBORw0KGgo|R0lGOD|UklGR)/, "a picture as text (base64)", "base64", "Decode it (`base64 -d`)."],
  [/^\[InternetShortcut\]/i, "a shortcut to a web address", "shortcut", "Download the picture that it leads to."],
  [/^P[1-7]\s/, "a Netpbm picture (PBM, PGM, PPM)", "Netpbm", convert],
];

/** How far a text is looked at. */
const textBytes = 1024;

/** Names what the first bytes say that a file is, when it is not a picture that Serval reads; undefined for what is not on the list. */
export function nameFormat(bytes: Uint8Array): KnownFormat | undefined {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, textBytes));
  return nameMedia(start) ?? nameBitmap(start) ?? nameRiff(start) ?? nameMagic(start) ?? nameText(start) ?? nameBlank(start);
}

function nameMagic(start: Buffer): KnownFormat | undefined {
  const found = magics.find(([at, magic]) => start.toString("latin1", at, at + magic.length) === magic);
  return found && { name: found[2], short: found[3], remedy: found[4] };
}

/** `ftyp`, a main brand, a version and the brands that it is compatible with. `mif1` and `msf1` alone say nothing about the coding. */
function nameMedia(start: Buffer): KnownFormat | undefined {
  if (start.toString("latin1", 4, 8) !== "ftyp" || start.length < 12) return undefined;
  const end = Math.min(start.length, Math.max(12, start.readUInt32BE(0)));
  const own = [start.toString("latin1", 8, 12).trimEnd()];
  for (let at = 16; at + 4 <= end; at += 4) own.push(start.toString("latin1", at, at + 4).trimEnd());
  const brand = own.find((name) => Object.hasOwn(brands, name));
  if (brand !== undefined) {
    const [name, short, remedy] = brands[brand]!;
    return { name, short, remedy };
  }
  if (own.some((name) => name === "mif1" || name === "msf1")) return { name: "a HEIF picture", short: "HEIF", remedy: heic };
  return { name: "a video (MP4 or QuickTime)", short: "video", remedy: still };
}

/** `BM` alone may begin a text: the size of the second header is one of a few. */
function nameBitmap(start: Buffer): KnownFormat | undefined {
  if (start.toString("latin1", 0, 2) !== "BM" || start.length < 18) return undefined;
  const headers = [12, 16, 40, 52, 56, 64, 108, 124];
  return headers.includes(start.readUInt32LE(14)) ? { name: "a BMP picture", short: "BMP", remedy: convert } : undefined;
}

function nameRiff(start: Buffer): KnownFormat | undefined {
  if (start.toString("latin1", 0, 4) !== "RIFF") return undefined;
  const kind = start.toString("latin1", 8, 12);
  if (kind === "AVI ") return { name: "a video (AVI)", short: "video", remedy: still };
  return kind === "WAVE" ? { name: "a sound (WAV)", short: "sound", remedy: "Leave it out." } : undefined;
}

function nameText(start: Buffer): KnownFormat | undefined {
  const text = decodeText(start).trimStart();
  const found = texts.find(([begins]) => begins.test(text));
  return found && { name: found[1], short: found[2], remedy: found[3] };
}

/** Windows programs write UTF-16 and a mark in front, which others put before UTF-8 as well. */
function decodeText(start: Buffer): string {
  if (start[0] === 0xff && start[1] === 0xfe) return start.toString("utf16le", 2);
  return start.toString("utf8").replace(/^\ufeff/, "");
}

function nameBlank(start: Buffer): KnownFormat | undefined {
  if (start.length < 8 || start.some((byte) => byte !== 0)) return undefined;
  return { name: "blank (its bytes are zero)", short: "blank", remedy: "Copy or download it again." };
}
