import type { Release } from "./target.ts";

/** What is known when a deploy is told to stop. */
export interface StoppedAt {
  /** The step that was under way, or the last one that was done. */
  readonly step: string;
  /** What served when the deploy began; undefined before that was looked up. */
  readonly before: Release | null | undefined;
  /** Name of the new version; null for an undo before it is known which that is. */
  readonly version: string | null;
}

type Place = "as before" | "beside" | "both" | "alone" | "recorded" | "taken back";

/** How far the new version has come when a step is under way. */
const places: Readonly<Record<string, Place>> = {
  stand: "as before",
  fetch: "as before",
  start: "beside",
  ready: "beside",
  smoke: "beside",
  latency: "beside",
  admit: "both",
  watch: "both",
  retire: "alone",
  alone: "alone",
  public: "alone",
  commit: "recorded",
  "take back": "taken back",
};

/**
 * What gets requests when a deploy ends in the middle of a step. The order of the steps sees to it that it is never less than before: the
 * new version gets requests before the old one stops, and the old one before the new one goes.
 */
export function describeStopped({ step, before, version }: StoppedAt): string {
  if (before === undefined) return "The version that served before still serves.";
  const after = version ?? "the previous version";
  const old = before?.version;
  switch (places[step]) {
    case "beside":
      return old === undefined
        ? `Nothing serves. ${after} was started and gets no requests.`
        : `${old} serves. ${after} was started beside it and gets no requests.`;
    case "both":
      return old === undefined ? `Requests go to ${after}, which has not passed its checks yet.` : `Requests go to ${old} and ${after}.`;
    case "alone":
      return `${after} serves, and has not passed its checks yet.${old === undefined ? "" : ` ${old} was stopped.`}`;
    case "recorded":
      return `${after} serves, and may not be recorded as the version that passed last.`;
    case "taken back":
      return old === undefined ? `${after} was being taken back.` : `${old} or ${after} serves: ${after} was being taken back.`;
    default:
      return old === undefined ? "Nothing serves." : `${old} serves.`;
  }
}
