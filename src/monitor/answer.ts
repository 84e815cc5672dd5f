import type { ImageStatistics } from "../image/statistics.ts";
import type { StoredPrediction } from "../predictions/prediction-store.ts";

/** What the monitor looks at of a stored prediction. */
export interface MonitoredAnswer {
  readonly atMs: number;
  /** The most probable label, also where the service abstained. */
  readonly label: string;
  readonly confidence: number;
  /** Why the answer had no label; null where it had one, or where version 0.1 stored it. */
  readonly reason: string | null;
  /** Null: version 0.1 stored it. */
  readonly statistics: ImageStatistics | null;
  /** How far the picture is from those of the training; null where the bundle cannot say. */
  readonly outlierScore: number | null;
  /** What the model saw, as a few numbers; null where the bundle has no projection. */
  readonly embedding: Float32Array | null;
  /** The label that a client gave it. */
  readonly truth: string | null;
}

export function monitoredAnswer({ atMs, label, confidence, facts, feedback }: StoredPrediction): MonitoredAnswer {
  return {
    atMs,
    label,
    confidence,
    reason: facts?.reason ?? null,
    statistics: facts?.statistics ?? null,
    outlierScore: facts?.outlierScore ?? null,
    embedding: facts?.embedding ?? null,
    truth: feedback?.label ?? null,
  };
}
