/** How a service has answered what it was sent (POST: predictions, explanations, feedback) since it started. */
export interface Counters {
  readonly requests: number;
  /** Answered with 5xx. */
  readonly failed: number;
  /** Upper bounds in seconds, ascending, and how many predictions took no longer. */
  readonly durations: readonly (readonly [seconds: number, count: number])[];
}

const requestsMetric = "serval_http_requests_total";
const durationsMetric = "serval_http_request_duration_seconds_bucket";

/** Reads them from the text of GET /metrics. */
export function parseCounters(text: string): Counters {
  let [requests, failed] = [0, 0];
  const durations = new Map<number, number>();
  for (const { name, labels, value } of samplesIn(text)) {
    // What monitors and browsers ask says nothing about the work.
    if (labels["method"] !== "POST") continue;
    if (name === requestsMetric) {
      requests += value;
      if (labels["status"]?.startsWith("5")) failed += value;
    } else if (name === durationsMetric) {
      const bound = labels["le"] === "+Inf" ? Infinity : Number(labels["le"]);
      durations.set(bound, (durations.get(bound) ?? 0) + value);
    }
  }
  return { requests, failed, durations: [...durations].sort(([a], [b]) => a - b) };
}

/** What was counted between two looks. A service that was restarted in between counts from 0. */
export function countersBetween(earlier: Counters | null, later: Counters): Counters {
  if (earlier === null || earlier.requests > later.requests) return later;
  const before = new Map(earlier.durations);
  return {
    requests: later.requests - earlier.requests,
    failed: later.failed - earlier.failed,
    durations: later.durations.map(([bound, count]) => [bound, count - (before.get(bound) ?? 0)] as const),
  };
}

/** Seconds within which half of the requests were answered, interpolated in its bucket as Prometheus does; null without any. */
export function medianSeconds({ durations }: Counters): number | null {
  const total = durations.at(-1)?.[1] ?? 0;
  if (total === 0) return null;
  let [lowBound, lowCount] = [0, 0];
  for (const [bound, count] of durations) {
    if (count >= total / 2)
      return bound === Infinity ? lowBound : lowBound + (bound - lowBound) * ((total / 2 - lowCount) / (count - lowCount));
    [lowBound, lowCount] = [bound, count];
  }
  return lowBound;
}

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

function* samplesIn(text: string): Generator<Sample> {
  for (const [, name = "", labels = "", value] of text.matchAll(/^(\w+)\{(.*)\} (\S+)$/gm)) {
    const pairs = [...labels.matchAll(/(?<!\w)(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = "", text = ""]) => [key, text] as const);
    yield { name, labels: Object.fromEntries(pairs), value: Number(value) };
  }
}
