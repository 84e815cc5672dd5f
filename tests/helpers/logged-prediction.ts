import type { LoggedPrediction } from "../../src/predictions/prediction-store.ts";

/** A prediction of two colours, as the service hands it to its log. */
export function loggedPrediction(requestId: string, other: Partial<LoggedPrediction> = {}): LoggedPrediction {
  return {
    requestId,
    atMs: 1_800_000_000_000,
    modelName: "colours",
    modelVersion: "1",
    label: "red",
    confidence: 0.9,
    probabilities: { blue: 0.1, red: 0.9 },
    keyName: null,
    facts: {
      route: "/predict",
      reason: null,
      latencyMs: { preprocess: 1.5, queue: 0.25, model: 4, total: 6 },
      size: { width: 640, height: 480 },
      statistics: { brightness: 0.5, contrast: 0.25, sharpness: 0.125, saturation: 0.75 },
      outlierScore: 12.5,
      embedding: Float32Array.from({ length: 32 }, (_, k) => k / 4 - 4),
    },
    ...other,
  };
}
