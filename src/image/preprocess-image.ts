import { checkImage, type ImageLimits } from "./check-image.ts";
import { preprocessHere, type Preprocess } from "./preprocess.ts";
import { sharedDecoder } from "./shared-decoder.ts";

/**
 * Decodes a picture from anywhere and brings it to the model's size, as `preprocessHere` says. A picture that may take long
 * is decoded in another process, which ends when the time or the memory is used up. Throws E_IMAGE_*, E_DECODER.
 */
export async function preprocessImage(image: Uint8Array, preprocess: Preprocess, limits: ImageLimits): Promise<Uint8Array> {
  const { costly, work } = checkImage(image, limits);
  if (!costly) return await preprocessHere(image, preprocess, limits);
  return (await sharedDecoder().run({ kind: "preprocess", image, preprocess, limits, forMap: false }, work)).pixels;
}
