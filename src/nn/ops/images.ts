import type { Emitted, Map4 } from "../../onnx/builder.ts";
import type { NormalizeAttributes } from "./op-attributes.ts";
import { array64, expectRank, type OpSpec } from "./op-spec.ts";

/** Pictures uint8 [N,H,W,3] -> maps [N,3,H,W]: (value/255 - mean) / std a colour. */
export const normalizeImages: OpSpec<NormalizeAttributes, 1> = {
  infer([x]) {
    expectRank("normalizeImages", "x", x, 4);
    const [n, h, w, c] = x as Map4;
    return [[n, c, h, w]];
  },
  evaluate([x], { mean, std }) {
    const [n, h, w, c] = x.shape as Map4;
    const result = array64([n, c, h, w]);
    for (let k = 0; k < x.data.length; k++) {
      const [channel, pixel, image] = [k % c, Math.floor(k / c) % (h * w), Math.floor(k / (c * h * w))];
      result.data[(image * c + channel) * h * w + pixel] =
        ((x.data[k] as number) / 255 - (mean[channel] as number)) / (std[channel] as number);
    }
    return [result];
  },
  gradient: { none: "pictures are data" },
  lower(builder, _lowering, [x], { mean, std }) {
    const [n, h, w, c] = x.shape as Map4;
    // One number a colour, repeated for a row: three numbers broadcast ten times slower than a row of them.
    const row = (values: readonly number[]): Emitted =>
      builder.floats(
        Float32Array.from({ length: w * c }, (_, k) => values[k % c] as number),
        [1, 1, w, c],
      );
    const floats = builder.node("Cast", [x], [n, h, w, c], { attributes: { to: 1 } });
    const scaled = builder.node("Mul", [floats, row(std.map((value) => 1 / (255 * value)))], floats.shape);
    const normalised = builder.node("Add", [scaled, row(mean.map((value, colour) => -value / (std[colour] as number)))], floats.shape);
    return [builder.transpose(normalised, [0, 3, 1, 2])];
  },
};
