import { readFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { expect, test } from "vitest";
import { checkImage, defaultImageLimits } from "../../src/image/check-image.ts";
import { ServalError } from "../../src/errors/serval-error.ts";

function refusal(bytes: Uint8Array): ServalError {
  try {
    checkImage(bytes, defaultImageLimits);
  } catch (error) {
    if (error instanceof ServalError) return error;
    throw error;
  }
  throw new Error("The bytes were taken for a picture.");
}

const folder = join(import.meta.dirname, "../fixtures/cases/format-unnamed");

test.each([
  ["x_avif.jpg", "an AVIF picture"],
  ["x_bmp.jpg", "a BMP picture"],
  ["x_heic.jpg", "a HEIC picture"],
  ["x_tiff.jpg", "a TIFF picture"],
  ["html.jpg", "an HTML page"],
  ["lfs.jpg", "a Git LFS pointer"],
])("format-unnamed: %s is named as %s", async (file, name) => {
  const error = refusal(await readFile(join(folder, file)));
  expect(error.code).toBe("E_IMAGE_FORMAT");
  // What it is, and a sentence on what to do.
  expect(error.message).toMatch(new RegExp(`^The file is ${name}, which is not JPEG, PNG, WebP or GIF\\. [A-Z][^.]+.*\\.$`));
});

const text = (content: string): Buffer => Buffer.from(content);
const bytes = (latin1: string): Buffer => Buffer.concat([Buffer.from(latin1, "latin1"), Buffer.alloc(32, 7)]);
const media = (...brands: string[]): Buffer => {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(8 + 4 * (brands.length + 1));
  return Buffer.concat([size, text(`ftyp${brands[0]}\0\0\0\0${brands.slice(1).join("")}`), Buffer.alloc(40)]);
};

test.each<[string, Buffer, string]>([
  ["a HEIC of a telephone, whose main brand is only mif1", media("mif1", "mif1", "heic"), "HEIC"],
  ["a HEIC sequence", media("hevc", "msf1"), "HEIC"],
  ["an AVIF whose main brand is mif1", media("mif1", "avif"), "AVIF"],
  ["an AVIF animation", media("avis", "avif"), "AVIF"],
  ["a HEIF without its coding", media("mif1", "miaf"), "HEIF"],
  ["a raw CR3", media("crx ", "isom"), "CR3"],
  ["a video", media("isom", "mp42"), "video"],
  ["a video of a telephone", media("qt  "), "video"],
  ["a big-endian TIFF", bytes("MM\0*"), "TIFF"],
  ["a BigTIFF", bytes("II+\0"), "TIFF"],
  ["a raw CR2, which begins like a TIFF", bytes("II*\0\x10\0\0\0CR\x02"), "CR2"],
  ["a raw RW2", bytes("IIU\0"), "RW2"],
  ["a JPEG XL codestream", bytes("\xff\x0a"), "JPEG XL"],
  ["a JPEG XL container", bytes("\0\0\0\x0cJXL \r\n\x87\n"), "JPEG XL"],
  ["a JPEG 2000", bytes("\0\0\0\x0cjP  \r\n\x87\n"), "JPEG 2000"],
  ["a Photoshop document", bytes("8BPS"), "PSD"],
  ["an icon", bytes("\0\0\x01\0"), "ICO"],
  ["a PDF", text("%PDF-1.7\n"), "PDF"],
  ["a web page that begins with blank lines", text("\r\n\r\n <html lang='en'>"), "HTML"],
  ["a web page behind a comment", text("<!-- saved from url --><!DOCTYPE html>"), "HTML"],
  ["a web page in UTF-16", Buffer.from("\ufeff<!DOCTYPE html>", "utf16le"), "HTML"],
  ["a web page with a mark of UTF-8", text("\ufeff<HTML>"), "HTML"],
  ["an error of a bucket", text("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"), "XML"],
  ["an error in JSON", text('{"error": "not found"}'), "JSON"],
  ["an SVG", text('<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'), "SVG"],
  ["a git-annex link that was copied as a file", text("../.git/annex/objects/xx/yy/SHA256E-s1--a.jpg"), "git-annex pointer"],
  ["a git-annex pointer", text("/annex/objects/SHA256E-s1--a.jpg\n"), "git-annex pointer"],
  ["a DVC pointer", text("outs:\n- md5: a304afb96060aad90176268345e10355\n"), "DVC pointer"],
  ["a data URL", text("data:image/jpeg;base64,/9j/4AAQ"), "data URL"],
  ["base64", text("/9j/4AAQSkZJRgABAQ"), "base64"],
  ["the side file of a Mac", bytes("\0\x05\x16\x07\0\x02\0\0"), "AppleDouble"],
  ["a zip", bytes("PK\x03\x04"), "zip"],
  ["a file that a copy left blank", Buffer.alloc(4096), "blank"],
])("format-unnamed, relative: %s", (_what, content, short) => {
  expect(refusal(content)).toMatchObject({ code: "E_IMAGE_FORMAT", details: { format: short } });
});

test("format-unnamed, relative: a real TIFF and AVIF of other kinds", async () => {
  const picture = sharp({ create: { width: 16, height: 16, channels: 4, background: "#28c" } });
  expect(refusal(await picture.clone().tiff({ compression: "lzw" }).toBuffer()).details["format"]).toBe("TIFF");
  expect(refusal(await picture.clone().avif({ effort: 0 }).toBuffer()).details["format"]).toBe("AVIF");
});

test("format-unnamed, relative: what is not on the list still shows its bytes", () => {
  expect(refusal(text("BM is how my note begins")).message).toBe(
    'The file starts with the bytes 42 4d 20 69 73 20 68 6f (the text "BM is how my note begins"), which is not JPEG, PNG, WebP or GIF.',
  );
});
