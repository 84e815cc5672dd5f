import { ServalError } from "../../errors/serval-error.ts";

/** The three numbers of --mean and --std; throws E_USAGE for anything else. */
export function parseColours(flag: string, text: string): number[] {
  const values = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  const smallest = flag === "--std" ? 1e-6 : -1000;
  if (values.length === 3 && values.every((value) => value >= smallest && value <= 1000)) return values;
  throw new ServalError("E_USAGE", `${flag}: expected three numbers, such as 0.485,0.456,0.406, got ${JSON.stringify(text)}.`);
}

/** The number of pixels of --side; throws E_USAGE for anything else. */
export function parseSide(text: string): number {
  const side = /^[1-9]\d{0,3}$/.test(text) ? Number(text) : 0;
  if (side >= 1 && side <= 4096) return side;
  throw new ServalError("E_USAGE", `--side: expected a number of pixels from 1 to 4096, got ${JSON.stringify(text)}.`);
}
