import { ServalError, type ErrorCode } from "../errors/serval-error.ts";
import type { CarrierEnd } from "./carrier.ts";

/** Why a thread was lost. */
export type Loss =
  | ({ readonly kind: "ended" } & CarrierEnd)
  /** It was not ready in time. */
  | { readonly kind: "slow start"; readonly afterMs: number }
  /** It had work and gave no answer in time. */
  | { readonly kind: "silent"; readonly afterMs: number };

/** Such as "ended with code 1". */
export function describeLoss(loss: Loss): string {
  if (loss.kind === "ended") return `ended${loss.how}`;
  return loss.kind === "silent" ? `gave no answer within ${loss.afterMs} ms` : `was not ready within ${loss.afterMs} ms`;
}

/** The error of a thread that is called `who`, such as "The training thread": for `ThreadOptions.lost`. */
export function lossError(code: ErrorCode, who: string): (loss: Loss) => ServalError {
  return (loss) =>
    new ServalError(code, `${who} ${describeLoss(loss)}.`, loss.kind === "ended" && loss.cause !== undefined ? { cause: loss.cause } : {});
}
