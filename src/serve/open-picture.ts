import { ServalError } from "../errors.ts";
import { checkImage, type ImageLimits } from "../image/check-image.ts";
import type { DecoderProcesses } from "../image/decoder-processes.ts";
import type { Preprocess } from "../image/preprocess.ts";
import type { Picture } from "./predict-call.ts";

export interface OpenOptions {
  readonly decoder: DecoderProcesses;
  readonly preprocess: Preprocess;
  readonly limits: ImageLimits;
  /** Whether a heat map will be drawn over the image. */
  readonly forMap?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

/**
 * Looks at an image from outside before a thread of the model gets it. An image that may take long to decode is decoded here,
 * in a process that can be ended, and takes no thread from the others meanwhile. Throws E_IMAGE_*, E_DECODER, E_QUEUE_FULL,
 * E_PREDICTION_TIMEOUT, or the reason of the signal.
 */
export async function openPicture(image: Uint8Array, options: OpenOptions): Promise<Picture> {
  const { decoder, preprocess, limits, forMap = false, signal, timeoutMs } = options;
  const { costly, work } = checkImage(image, limits);
  if (!costly) return { encoded: image };
  const late = new AbortController();
  const giveUp = (): void => late.abort(new ServalError("E_PREDICTION_TIMEOUT", `The image was not decoded within ${timeoutMs} ms.`));
  const timer = timeoutMs === undefined ? undefined : setTimeout(giveUp, timeoutMs);
  const signals = [late.signal, ...(signal === undefined ? [] : [signal])];
  try {
    return { decoded: await decoder.run({ kind: "preprocess", image, preprocess, limits, forMap }, work, AbortSignal.any(signals)) };
  } finally {
    clearTimeout(timer);
  }
}
