import { NCHWC_DOMAIN, type AttributeValue, type Emitted, type OnnxBuilder } from "./builder.ts";
import type { Activation } from "./lowering.ts";

/** The blocked layout holds whole blocks only; other channel counts take the portable way. */
export function fits(builder: OnnxBuilder, ...channels: number[]): boolean {
  return channels.every((count) => count % builder.blockSize === 0);
}

/** The channels that memory holds in the blocked layout: those of whole blocks. */
export function whole(builder: OnnxBuilder, channels: number): number {
  return Math.ceil(channels / builder.blockSize) * builder.blockSize;
}

/** One of MLAS's operators on blocked maps. */
export function emit(
  builder: OnnxBuilder,
  op: string,
  inputs: readonly Emitted[],
  shape: readonly number[],
  attributes: Record<string, AttributeValue>,
): Emitted {
  return builder.node(op, inputs, shape, { domain: NCHWC_DOMAIN, layout: "blocked", attributes });
}

/** An activation that MLAS's convolution applies to what it writes. */
export function activated(activation: Activation = "none"): Record<string, AttributeValue> {
  if (activation === "none") return {};
  return activation === "relu" ? { activation: "Relu" } : { activation: "Clip", activation_params: { floats: [0, 6] } };
}

/** In ascending order. */
function divisors(count: number): number[] {
  return Array.from({ length: count }, (_, k) => k + 1).filter((k) => count % k === 0);
}

export function greatestDivisor(a: number, b: number): number {
  return divisors(a).findLast((k) => b % k === 0) as number;
}

/** What a product of filters reads again and again should stay in a core's cache of the second level. */
const CACHED_BYTES = 1.25 * 2 ** 20;
/** MLAS computes this many blocks of output channels together. */
const FILTER_SET = 4;

/** Into how many parts, a divisor of `count`, filters with this many channels and taps have to be cut so that what is read together stays in the cache. */
export function cachedParts(builder: OnnxBuilder, channels: number, taps: number, count: number): number {
  const bytes = Math.min(channels, FILTER_SET * builder.blockSize) * taps * 4;
  return divisors(count).find((parts) => bytes / parts <= CACHED_BYTES) ?? count;
}
