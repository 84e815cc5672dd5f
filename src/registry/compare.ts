import type { PairedCounts } from "./predictions.ts";

/** A challenger against the champion on the same images. */
export interface Comparison extends PairedCounts {
  readonly championAccuracy: number;
  readonly challengerAccuracy: number;
  /** Challenger minus champion, as a share. */
  readonly difference: number;
  /** 95 % interval of the difference by the paired bootstrap. */
  readonly interval: readonly [low: number, high: number];
  /** Two-sided p of McNemar's exact test: how often equal models would differ at least this much. */
  readonly mcnemarP: number;
}

/** A challenger may lose this share of accuracy at most, with 95 % confidence. */
const largestLoss = 0.005;

export function compareModels(counts: PairedCounts): Comparison {
  const { images, bothRight, onlyChampionRight, onlyChallengerRight } = counts;
  return {
    ...counts,
    championAccuracy: (bothRight + onlyChampionRight) / images,
    challengerAccuracy: (bothRight + onlyChallengerRight) / images,
    difference: (onlyChallengerRight - onlyChampionRight) / images,
    interval: bootstrapInterval(images, onlyChallengerRight, onlyChampionRight),
    mcnemarP: mcnemarExact(onlyChallengerRight, onlyChampionRight),
  };
}

/** Why the challenger must not become the champion; undefined where it may. */
export function reasonAgainst({ difference, interval: [low] }: Comparison): string | undefined {
  if (difference < 0) return `its accuracy is ${points(-difference)} points lower`;
  if (low < -largestLoss) {
    return `its accuracy may be ${points(-low)} points lower, more than the ${points(largestLoss)} that may be lost`;
  }
  return undefined;
}

/** A share as points of accuracy. */
export function points(share: number): string {
  return (100 * share).toFixed(2);
}

/**
 * The 95 % percentile interval of the paired bootstrap (Efron 1979) of (wins - losses) / n, exactly: resampling n pairs of
 * which `wins` count +1, `losses` -1 and the rest 0 is a draw from a multinomial distribution, so its quantiles are summed
 * up and need no random numbers.
 */
export function bootstrapInterval(n: number, wins: number, losses: number): [low: number, high: number] {
  const discordant = wins + losses;
  if (discordant === 0) return [0, 0];
  const logFactorial = logFactorials(n);
  /** P(k successes of m), each with probability p. */
  const binomial = (m: number, k: number, p: number): number => {
    if (p === 0 || p === 1) return k === m * p ? 1 : 0;
    const choices = (logFactorial[m] as number) - (logFactorial[k] as number) - (logFactorial[m - k] as number);
    return Math.exp(choices + k * Math.log(p) + (m - k) * Math.log1p(-p));
  };
  // By difference + n: how many of the n drawn pairs differ, and how many of those are wins.
  const probability = new Float64Array(2 * n + 1);
  const winShare = wins / discordant;
  for (const m of reach(n, discordant / n)) {
    const weight = binomial(n, m, discordant / n);
    for (const k of reach(m, winShare)) {
      const at = 2 * k - m + n;
      probability[at] = (probability[at] as number) + weight * binomial(m, k, winShare);
    }
  }
  const quantile = (share: number): number => {
    let sum = 0;
    const at = probability.findIndex((p) => (sum += p) >= share - 1e-12);
    return (at - n) / n;
  };
  return [quantile(0.025), quantile(0.975)];
}

/** The counts of a binomial distribution that matter: what lies seven standard deviations out is one in a hundred billion. */
function* reach(n: number, p: number): Generator<number> {
  const spread = 7 * Math.sqrt(n * p * (1 - p)) + 10;
  for (let k = Math.max(0, Math.floor(n * p - spread)); k <= Math.min(n, Math.ceil(n * p + spread)); k++) yield k;
}

function logFactorials(n: number): Float64Array {
  const values = new Float64Array(n + 1);
  for (let i = 1; i <= n; i++) values[i] = (values[i - 1] as number) + Math.log(i);
  return values;
}

/** McNemar's test (1947) in its exact form: the discordant pairs against a fair coin, two-sided. */
export function mcnemarExact(wins: number, losses: number): number {
  const n = wins + losses;
  const logFactorial = logFactorials(n);
  let tail = 0;
  for (let k = 0; k <= Math.min(wins, losses); k++) {
    const choices = (logFactorial[n] as number) - (logFactorial[k] as number) - (logFactorial[n - k] as number);
    tail += Math.exp(choices - n * Math.LN2);
  }
  return Math.min(1, 2 * tail);
}
