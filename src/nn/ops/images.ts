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
    const input = x as Emitted;
    const floats = builder.node("Cast", [input], input.shape, { attributes: { to: 1 } });
    const scale = builder.floats(Float32Array.from(std, (value) => 1 / (255 * value)));
    const offset = builder.floats(Float32Array.from(mean, (value, colour) => -value / (std[colour] as number)));
    const normalised = builder.node("Add", [builder.node("Mul", [floats, scale], input.shape), offset], input.shape);
    return [{ ...builder.transpose(normalised, [0, 3, 1, 2]), shape: shape as readonly number[] }];
  },
};
