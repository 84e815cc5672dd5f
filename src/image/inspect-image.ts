import { checkImage, type ImageLimits } from "./check-image.ts";
import { inspectHere, type ImageInspection } from "./decode.ts";
import { sharedDecoder } from "./shared-decoder.ts";

/**
 * Decodes every byte of a picture from anywhere to check it, as `inspectHere` says. A picture that may take long is decoded
 * in another process, which ends when the time or the memory is used up. Throws E_IMAGE_*, E_DECODER.
 */
export async function inspectImage(image: Uint8Array, limits: ImageLimits): Promise<ImageInspection> {
  const { costly, work } = checkImage(image, limits);
  if (!costly) return await inspectHere(image, limits);
  return await sharedDecoder().run({ kind: "inspect", image, limits }, work);
}
