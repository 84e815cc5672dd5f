import { ServalError } from "../errors/serval-error.ts";
import { checkImage, type ImageLimits } from "./check-image.ts";
import { inspectHere, type ImageInspection } from "./decode.ts";
import { sharedDecoder } from "./shared-decoder.ts";

/**
 * Decodes every byte of a picture from anywhere to check it, as `inspectHere` says. A picture that may take long is decoded
 * in another process, which ends when the time or the memory is used up. Throws E_IMAGE_*, E_DECODER.
 */
export async function inspectImage(image: Uint8Array, limits: ImageLimits): Promise<ImageInspection> {
  const { costly, work } = checkImage(image, limits);
  const elsewhere = async (): Promise<ImageInspection> => await sharedDecoder().run({ kind: "inspect", image, limits }, work);
  if (costly) return await elsewhere();
  try {
    return await inspectHere(image, limits);
  } catch (error) {
    if (!(error instanceof ServalError) || error.code !== "E_IMAGE_CORRUPT") throw error;
    // The library has one place for its complaints, so pictures that are decoded at the same time take each other's. A decoder process
    // has one picture at a time: what it says is about this one.
    return await elsewhere().catch((reason: unknown) => {
      throw reason instanceof ServalError && reason.code === "E_IMAGE_CORRUPT" ? reason : error;
    });
  }
}
