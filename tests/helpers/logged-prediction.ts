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
    ...other,
  };
}
