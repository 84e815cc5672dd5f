import { ServalError } from "../../errors/serval-error.ts";

/** The number of an option such as --wait; throws E_USAGE for what is none, or is negative. */
export function parseAmount(option: string, text: string): number {
  const amount = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && amount <= 86_400_000) return amount;
  throw new ServalError("E_USAGE", `${option}: expected a number that is not negative, got ${JSON.stringify(text)}.`);
}
