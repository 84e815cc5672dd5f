import { setTimeout as delay } from "node:timers/promises";
import { ServalError } from "../errors/serval-error.ts";
import { countersBetween, medianSeconds, type Counters } from "./counters.ts";
import { milliseconds, slowestAllowed } from "./checks/latency.ts";
import type { Target } from "./target.ts";
import { percent } from "../text.ts";

export interface WatchOptions {
  readonly seconds: number;
  /** What the previous version answered until now; null where there was none. */
  readonly before: Counters | null;
  readonly signal?: AbortSignal | undefined;
}

/** What was seen of one version. */
export interface Seen {
  readonly requests: number;
  readonly failed: number;
  /** Null where there were too few to tell. */
  readonly medianMs: number | null;
}

export interface WatchReport {
  readonly seconds: number;
  readonly candidate: Seen;
  /** The previous version, in the same time; null where it did not serve any more. */
  readonly beside: Seen | null;
}

const lookEveryMs = 1000;
/** One failure is an accident, and one in fifty more than before is not. */
const leastFailures = 3;
const allowedFailureShare = 0.02;
/** Of fewer requests a median says nothing. */
const leastRequests = 20;
/** So often in a row the service may fail to answer before it counts as gone. */
const mostUnanswered = 3;

/**
 * Looks at the new version once a second while requests reach it. Throws E_DEPLOY_REFUSED as soon as it does not run any
 * more, fails more often or is much slower than the previous version, measured at the same time where that still serves.
 */
export async function watchRollout(target: Target, { seconds, before, signal }: WatchOptions): Promise<WatchReport> {
  const startedAt = performance.now();
  const first = await target.observe();
  let unanswered = 0;
  for (;;) {
    const now = await target.observe();
    if (now.broken !== null) throw new ServalError("E_DEPLOY_REFUSED", `It does not serve any more: ${now.broken}.`);
    unanswered = now.candidate === null ? unanswered + 1 : 0;
    if (unanswered >= mostUnanswered) throw new ServalError("E_DEPLOY_REFUSED", `GET /metrics did not answer ${mostUnanswered} times.`);
    const candidate = now.candidate && countersBetween(first.candidate, now.candidate);
    const beside = now.before && countersBetween(first.before, now.before);
    const wrong = candidate && findFault(candidate, beside, before);
    if (wrong) throw new ServalError("E_DEPLOY_REFUSED", `${wrong}.`);
    const elapsed = (performance.now() - startedAt) / 1000;
    if (elapsed >= seconds && candidate) return { seconds: elapsed, candidate: seen(candidate), beside: beside && seen(beside) };
    await delay(Math.min(lookEveryMs, Math.max(50, (seconds - elapsed) * 1000)), undefined, signal ? { signal } : {});
  }
}

/**
 * What is wrong with a version that answered like `candidate`, given the previous version in the same time (`beside`) and
 * until then (`earlier`); null for nothing.
 */
export function findFault(candidate: Counters, beside: Counters | null, earlier: Counters | null): string | null {
  const share = ({ requests, failed }: Counters): number => (requests === 0 ? 0 : failed / requests);
  const others = [beside, earlier].filter((counters) => counters !== null);
  const usual = Math.max(0, ...others.map(share));
  if (candidate.failed >= leastFailures && share(candidate) > usual + allowedFailureShare) {
    return `${candidate.failed} of ${candidate.requests} requests failed (${percent(share(candidate))}); before ${percent(usual)}`;
  }
  const now = reliableMedian(candidate);
  const same = beside && reliableMedian(beside);
  const was = earlier && reliableMedian(earlier);
  // A new version that takes the cores of the one beside it makes that one slow, too: so at most twice of what it was.
  const usualMedian = same !== null && was !== null ? Math.min(same, 2 * was) : (same ?? was);
  if (now === null || usualMedian === null) return null;
  const allowed = slowestAllowed(usualMedian, same !== null);
  if (now <= allowed) return null;
  return `half of ${candidate.requests} requests took longer than ${milliseconds(now)}; before ${milliseconds(usualMedian)}, expected at most ${milliseconds(allowed)}`;
}

function reliableMedian(counters: Counters): number | null {
  return counters.requests < leastRequests ? null : medianSeconds(counters);
}

function seen(counters: Counters): Seen {
  const median = reliableMedian(counters);
  return { requests: counters.requests, failed: counters.failed, medianMs: median === null ? null : Number((median * 1000).toFixed(1)) };
}
