import { ServalError } from "../errors.ts";
import { drawnPicture, uploadPicture } from "./smoke.ts";

/** A new version may be so much slower than the one before at the same time, and this many seconds on top: noise of a busy host. */
const slowestFactor = 3;
const toleranceSeconds = 0.02;
/** At another time the host may have had other things to do: then only a version that breaks down shows. */
const slowestFactorLater = 10;

/** The longest median that is taken from a new version, given that of the one before. */
export function slowestAllowed(beforeSeconds: number, sameTime = true): number {
  return beforeSeconds * (sameTime ? slowestFactor : slowestFactorLater) + toleranceSeconds;
}

const warmUps = 3;
const samples = 15;

/**
 * Asks two services for predictions in turn, so that both see the same machine, and compares the medians. Throws
 * E_DEPLOY_REFUSED where the candidate is much slower. A service before that does not answer says nothing about the new one.
 */
export async function compareLatency(candidate: string, before: string | null, signal?: AbortSignal): Promise<string> {
  if (before === null) return "nothing to compare with";
  const times: Record<"candidate" | "before", number[]> = { candidate: [], before: [] };
  for (let i = 0; i < warmUps + samples; i++) {
    for (const which of ["before", "candidate"] as const) {
      const seconds = await timePrediction(which === "candidate" ? candidate : before, signal);
      if (seconds === null && which === "before") return "the version before does not answer, so there is nothing to compare with";
      if (seconds === null) throw new ServalError("E_DEPLOY_REFUSED", "POST /predict does not answer 200.");
      if (i >= warmUps) times[which].push(seconds);
    }
  }
  const [now, was] = [median(times.candidate), median(times.before)];
  const seen = `median of ${samples} predictions ${milliseconds(now)}, before ${milliseconds(was)}`;
  if (now <= slowestAllowed(was)) return seen;
  throw new ServalError("E_DEPLOY_REFUSED", `${seen}; expected at most ${milliseconds(slowestAllowed(was))}.`);
}

export function milliseconds(seconds: number): string {
  return `${(seconds * 1000).toFixed(1)} ms`;
}

async function timePrediction(url: string, signal: AbortSignal | undefined): Promise<number | null> {
  const startedAt = performance.now();
  const limits = [AbortSignal.timeout(10_000), ...(signal ? [signal] : [])];
  try {
    const response = await fetch(`${url}/predict`, { ...uploadPicture(drawnPicture(), "deploy.png"), signal: AbortSignal.any(limits) });
    await response.arrayBuffer();
    return response.status === 200 ? (performance.now() - startedAt) / 1000 : null;
  } catch {
    signal?.throwIfAborted();
    return null;
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
