import { ServalError } from "../../errors/serval-error.ts";
import { createAsk, drawnPicture, expectStatus, uploadPicture, type Ask, type AskOptions } from "./ask.ts";

/** A new version may be so much slower than the previous one at the same time, and this many seconds on top: noise of a busy host. */
const slowestFactor = 3;
const toleranceSeconds = 0.02;
/** At another time the host may have had other things to do: then only a version that breaks down shows. */
const slowestFactorLater = 10;

/** The longest median that is taken from a new version, given that of the previous one. */
export function slowestAllowed(beforeSeconds: number, sameTime = true): number {
  return beforeSeconds * (sameTime ? slowestFactor : slowestFactorLater) + toleranceSeconds;
}

const warmUps = 3;
const samples = 15;

/**
 * Asks two services for predictions in turn, so that both see the same machine, and compares the medians. Throws
 * E_DEPLOY_REFUSED where the candidate is much slower, or answers something else. A service before that does not answer says nothing about the new one.
 */
export async function compareLatency(candidate: string, before: string | null, options: AskOptions = {}): Promise<string> {
  if (before === null) return "nothing to compare with";
  const asks = { before: createAsk(before, options), candidate: createAsk(candidate, options) };
  const times: Record<"candidate" | "before", number[]> = { candidate: [], before: [] };
  for (let i = 0; i < warmUps + samples; i++) {
    for (const which of ["before", "candidate"] as const) {
      const taken = await timePrediction(asks[which]);
      if (typeof taken === "string" && which === "before") return `nothing to compare with, the previous version does not answer: ${taken}`;
      if (typeof taken === "string") throw new ServalError("E_DEPLOY_REFUSED", taken);
      if (i >= warmUps) times[which].push(taken);
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

/** Seconds that it took, or what was answered in place of a prediction. */
async function timePrediction(ask: Ask): Promise<number | string> {
  try {
    const reply = await ask("/predict", uploadPicture(drawnPicture(), "deploy.png"));
    expectStatus("POST /predict", reply, 200);
    return reply.durationMs / 1000;
  } catch (error) {
    if (error instanceof ServalError && error.code === "E_SMOKE") return error.message;
    throw error;
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
