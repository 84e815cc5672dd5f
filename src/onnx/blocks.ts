import { NCHWC_DOMAIN, type AttributeValue, type Emitted, type OnnxBuilder } from "./builder.ts";

/** The blocked layout holds whole blocks only; other channel counts take the portable way. */
export function fits(builder: OnnxBuilder, ...channels: number[]): boolean {
  return channels.every((count) => count % builder.blockSize === 0);
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
