import type { ImageLimits } from "./check-image.ts";
import type { ImageInspection } from "./decode.ts";
import type { SeenPicture } from "./heat-map.ts";
import type { Preprocess } from "./preprocess.ts";

/** What a decoder process can be asked. */
export type DecodeTask =
  /** As `preprocessHere`; with `forMap` also what a heat map is drawn over. */
  | {
      readonly kind: "preprocess";
      readonly image: Uint8Array;
      readonly preprocess: Preprocess;
      readonly limits: ImageLimits;
      readonly forMap: boolean;
    }
  /** As `inspectHere`. */
  | { readonly kind: "inspect"; readonly image: Uint8Array; readonly limits: ImageLimits };

export interface DecodeAnswers {
  readonly preprocess: DecodedPicture;
  readonly inspect: ImageInspection;
}

export interface DecodedPicture {
  /** What `preprocessHere` returns. */
  readonly pixels: Uint8Array;
  readonly seen: SeenPicture | null;
  /** How long decoding took. */
  readonly decodeMs: number;
}

export type DecodeAnswerOf<T extends DecodeTask> = DecodeAnswers[T["kind"]];

/** What a decoder process speaks. */
export interface DecodeProtocol {
  readonly call: DecodeTask;
  readonly answer: DecodeAnswers[DecodeTask["kind"]];
  /** The picture exceeds its limits: whichever program started the process should end it. */
  readonly event: { readonly limit: "time" | "memory"; readonly message: string };
}
