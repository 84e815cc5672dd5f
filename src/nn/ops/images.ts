import type { Emitted } from "../../onnx/builder.ts";
import type { NormalizeAttributes } from "./op-attributes.ts";
import { array64, expectRank, type Array64, type OpSpec } from "./op-spec.ts";

/** Pictures uint8 [N,H,W,3] -> maps [N,3,H,W]: (value/255 - mean) / std a colour. */
export const normalizeImages: OpSpec<NormalizeAttributes> = {
  infer([x]) {
    expectRank("normalizeImages", "x", x ?? [], 4);
    const [n, h, w, c] = x as [number, number, number, number];
    return [[n, c, h, w]];
  },
  evaluate([x], { mean, std }) {
    const input = x as Array64;
    const [n, h, w, c] = input.shape as [number, number, number, number];
    const result = array64([n, c, h, w]);
    for (let k = 0; k < input.data.length; k++) {
      const [channel, pixel, image] = [k % c, Math.floor(k / c) % (h * w), Math.floor(k / (c * h * w))];
      result.data[(image * c + channel) * h * w + pixel] =
        ((input.data[k] as number) / 255 - (mean[channel] as number)) / (std[channel] as number);
    }
    return [result];
  },
  gradient: { none: "pictures are data" },
  lower(builder, _lowering, [x], { mean, std }, [shape]) {
    // Bytes are moved before they become four times as large, and one number a whole plane broadcasts fast.
    const planes = builder.transpose(x as Emitted, [0, 3, 1, 2]);
    const floats = builder.node("Cast", [planes], planes.shape, { attributes: { to: 1 } });
    const scale = builder.floats(
      Float32Array.from(std, (value) => 1 / (255 * value)),
      [1, std.length, 1, 1],
    );
    const offset = builder.floats(
      Float32Array.from(mean, (value, colour) => -value / (std[colour] as number)),
      [1, mean.length, 1, 1],
    );
    return [builder.node("Add", [builder.node("Mul", [floats, scale], planes.shape), offset], shape as readonly number[])];
  },
};
