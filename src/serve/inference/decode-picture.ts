import { ServalError } from "../../errors/serval-error.ts";
import type { ImageLimits } from "../../image/check-image.ts";
import type { DecoderProcesses } from "../../image/decoder-processes.ts";
import type { Preprocess } from "../../image/preprocess.ts";
import type { Picture } from "./predict-call.ts";

export interface DecodeOptions {
  /** As `checkImage` says. */
  readonly work: number;
  /** Whether a heat map will be drawn over the image. */
  readonly forMap?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

/**
 * Decodes a costly image before a thread of the model gets it: in a process that can be ended, so that it takes no thread
 * from the others. Throws E_IMAGE_*, E_DECODER, E_QUEUE_FULL, E_PREDICTION_TIMEOUT, or the reason of the signal.
 */
export async function decodePicture(
  decoder: DecoderProcesses,
  image: Uint8Array,
  preprocess: Preprocess,
  limits: ImageLimits,
  { work, forMap = false, signal, timeoutMs }: DecodeOptions,
): Promise<Picture> {
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
