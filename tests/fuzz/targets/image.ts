import sharp, { type Sharp } from "sharp";
import { preprocessHere, type Preprocess } from "../../../src/image/preprocess.ts";
import { defaultLimits } from "../../../src/serve/inference/limits.ts";
import { jpeg } from "../../helpers/pictures.ts";
import { mutatePicture } from "../mutate.ts";
import { expectRefusal, expectThat, type FuzzTarget } from "../target.ts";

const limits = { maxBytes: defaultLimits.maxBodyBytes, maxPixels: defaultLimits.maxPixels };
const preprocess: Preprocess = { orient: true, width: 64, height: 48, fit: "squash", kernel: "linear", crop: null };

/** JPEG, PNG, WebP and GIF through the decoder, within the limits of the service: pixels, or a refusal. */
export async function openImages(): Promise<FuzzTarget> {
  const base = await jpeg("fuzz", 40, 30);
  const picture = (): Sharp => sharp(base);
  const frames = await sharp([base, base, base], { join: { animated: true } }).toBuffer();
  const drawn = await Promise.all([
    picture().jpeg({ progressive: true }).withMetadata({ orientation: 6 }).toBuffer(),
    picture().toColourspace("cmyk").jpeg().toBuffer(),
    picture().grayscale().jpeg({ chromaSubsampling: "4:4:4" }).toBuffer(),
    picture().png().toBuffer(),
    picture().png({ palette: true, colours: 16 }).toBuffer(),
    picture().toColourspace("rgb16").ensureAlpha(0.5).png({ progressive: true }).toBuffer(),
    picture().webp().toBuffer(),
    picture().ensureAlpha(0.5).webp({ lossless: true }).withMetadata().toBuffer(),
    picture().gif().toBuffer(),
    sharp(frames, { animated: true }).gif().toBuffer(),
    sharp(frames, { animated: true }).webp().toBuffer(),
  ]);
  return {
    seeds: [base, ...drawn],
    mutate: mutatePicture,
    // The decoders are not JavaScript.
    guided: false,
    async run(input) {
      try {
        const pixels = await preprocessHere(input, preprocess, limits);
        expectThat(pixels.length === 64 * 48 * 3, `${pixels.length} bytes of pixels`);
      } catch (error) {
        expectRefusal(error, ["E_IMAGE_EMPTY", "E_IMAGE_FORMAT", "E_IMAGE_CORRUPT", "E_IMAGE_PIXELS", "E_IMAGE_BYTES"]);
      }
    },
  };
}
