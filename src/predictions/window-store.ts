/** Which model a window belongs to. */
export interface WindowOf {
  readonly modelName: string;
  readonly modelVersion: string;
}

/** The place of an answer in the order in which a store keeps them. */
export interface AnswerPlace {
  readonly atMs: number;
  readonly requestId: string;
}

/** A stretch of answers of one version of a model that is over. */
export interface ClosedWindow extends WindowOf {
  /** From 1 on, without gaps: the next window of the version begins where this one ends. */
  readonly number: number;
  readonly fromMs: number;
  /** The last answer that belongs to it. */
  readonly last: AnswerPlace;
  /** The monitor's report of it, as JSON. */
  readonly report: string;
}

/** Closed windows, which replicas that share a store close and log once. Every method throws what the disk or the database throws. */
export interface WindowStore {
  /** The last closed one of a version. */
  newest(of: WindowOf): Promise<ClosedWindow | undefined>;
  /** Keeps it, and takes it for the caller to log; false where that number was closed by somebody else. */
  close(window: ClosedWindow, nowMs: number): Promise<boolean>;
  /** Takes a window that was not logged yet, and that no replica has taken since `beforeMs`; the oldest first. */
  take(beforeMs: number, nowMs: number): Promise<ClosedWindow | undefined>;
  /** Removes those that ended before, except for the newest of each version: the next one begins where that ends. */
  removeBefore(beforeMs: number): Promise<void>;
  /** It is logged, as the run with this id. */
  logged(window: Pick<ClosedWindow, "modelName" | "modelVersion" | "number">, runId: string): Promise<void>;
}

/** What `removeBefore` removes of the alias w, except for the time. */
export const notNewest: string =
  "w.number < (SELECT max(number) FROM monitor_windows WHERE model_name = w.model_name AND model_version = w.model_version)";

/** A row of monitor_windows, as either database gives it. */
export function closedWindow(row: Readonly<Record<string, unknown>>): ClosedWindow {
  return {
    modelName: String(row["model_name"]),
    modelVersion: String(row["model_version"]),
    number: Number(row["number"]),
    fromMs: Number(row["from_ms"]),
    last: { atMs: Number(row["to_ms"]), requestId: String(row["last_id"]) },
    report: String(row["report"]),
  };
}
