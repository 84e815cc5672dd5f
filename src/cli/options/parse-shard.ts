import { ServalError } from "../../errors/serval-error.ts";
import type { Shard } from "../../workflows/scoring/picture-source.ts";

/** `3/16` of --shard; throws E_USAGE for anything else. */
export function parseShard(text: string): Shard {
  const [, index = 0, count = 0] = /^([1-9]\d{0,5})\/([1-9]\d{0,5})$/.exec(text)?.map(Number) ?? [];
  if (index >= 1 && index <= count) return { index, count };
  throw new ServalError("E_USAGE", `--shard: expected a value such as 3/16, the third of sixteen, got ${JSON.stringify(text)}.`);
}
