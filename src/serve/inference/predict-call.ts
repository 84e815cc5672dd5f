import type { ImageLimits } from "../../image/check-image.ts";
import type { DecodedPicture } from "../../image/decode-call.ts";
import type { Preprocess } from "../../image/preprocess.ts";
import type { ImageStatistics } from "../../image/statistics.ts";
import type { FeatureSpace, PlaceInSpace } from "../../model/feature-space.ts";
import type { Classifier } from "./class-activation.ts";

/** What a thread of the pool needs to know. */
export interface PredictSetup {
  readonly preprocess: Preprocess;
  readonly limits: ImageLimits;
  /** The last layer, for explanations; null where the bundle does not have it. */
  readonly classifier: Classifier | null;
  /** For the outlier score and the embedding; null where the bundle has neither. */
  readonly space: FeatureSpace | null;
  /** Threads inside one operator while nothing else is asked. */
  readonly aloneThreads: number;
}

/** An image on its way to the model. */
export type Picture =
  /** As it was sent: a thread decodes it in a moment. */
  | { readonly encoded: Uint8Array }
  /** It was costly, and a decoder process has decoded it. */
  | { readonly decoded: DecodedPicture };

/** What a thread can be asked. */
export type PredictTask =
  /** Image -> probabilities [K]. */
  | { readonly kind: "predict"; readonly picture: Picture }
  /** The same for an image of the bundle itself: the service's limits are not about it. */
  | { readonly kind: "check"; readonly picture: Picture }
  /** As predict, and where in the image the class was seen; without a class the most probable one. */
  | { readonly kind: "explain"; readonly picture: Picture; readonly classIndex: number | undefined; readonly overlay: boolean }
  /** Pixels uint8 [count,H,W,3] -> logits and probabilities [count,K], features [count,C,h,w] on request. */
  | { readonly kind: "infer"; readonly images: Uint8Array; readonly count: number; readonly features: boolean };

export interface TaskTimings {
  readonly preprocessMs: number;
  readonly modelMs: number;
}

export interface PredictAnswers {
  readonly predict: {
    readonly probabilities: Float32Array;
    /** Of the pixels that the model took. */
    readonly statistics: ImageStatistics;
    /** Null where the bundle knows nothing about features. */
    readonly place: PlaceInSpace | null;
    readonly timings: TaskTimings;
  };
  readonly check: { readonly probabilities: Float32Array };
  readonly explain: {
    readonly probabilities: Float32Array;
    readonly classIndex: number;
    /** Logit of the class before the temperature. */
    readonly logit: number;
    readonly map: { readonly width: number; readonly height: number; readonly values: Float32Array };
    /** PNG of the image as the model saw it, with the map over it. */
    readonly overlay: Uint8Array | null;
    readonly statistics: ImageStatistics;
    readonly place: PlaceInSpace | null;
    readonly timings: TaskTimings;
  };
  readonly infer: {
    readonly logits: Float32Array;
    readonly probabilities: Float32Array;
    /** [count,C,h,w] */
    readonly features?: { readonly shape: readonly number[]; readonly values: Float32Array };
    /** One for each image. */
    readonly statistics: readonly ImageStatistics[];
    /** The same; [] where the bundle cannot say. */
    readonly places: readonly PlaceInSpace[];
    readonly modelMs: number;
  };
}

export type AnswerOf<T extends PredictTask> = PredictAnswers[T["kind"]];

/** What a thread of the pool speaks. */
export interface PredictProtocol {
  /** The images among calls that come together go through the model together. `alone`: nothing else is waiting or running. */
  readonly call: { readonly task: PredictTask; readonly alone: boolean };
  readonly answer: AnswerOf<PredictTask>;
  /** Once, before any call: the thread is ready, or refused, when it has opened the model. */
  readonly note: { readonly model: Uint8Array; readonly setup: PredictSetup };
}
