import { ServalError } from "../../errors/serval-error.ts";

/** How many are allowed: a number, or a share of all. */
export interface Limit {
  readonly text: string;
  of(all: number): number;
}

/** A limit such as 20 or 0.5%; throws E_USAGE for anything else. */
export function parseLimit(option: string, text: string): Limit {
  const [, number, sign] = /^(\d+(?:\.\d+)?)(%?)$/.exec(text) ?? [];
  const value = Number(number);
  if (number === undefined || (sign === "%" && value > 100) || (sign === "" && !Number.isSafeInteger(value))) {
    throw new ServalError("E_USAGE", `${option}: expected a whole number or a share such as 0.5%, got ${JSON.stringify(text)}.`);
  }
  return { text, of: (all) => (sign === "%" ? (value / 100) * all : value) };
}
