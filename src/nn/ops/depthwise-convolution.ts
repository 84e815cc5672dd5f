import type { Emitted } from "../../onnx/builder.ts";
import { paddingOf, type ConvAttributes } from "../../onnx/lowering.ts";
import { convOutput } from "./convolution.ts";
import { array64, expectRank, expectShape, type Array64, type OpSpec } from "./op-spec.ts";

type Map4 = [number, number, number, number];

/** x [N,C,H,W], weight [C,1,K,K], optional bias [C] -> [N,C,H',W']: every channel is filtered by a kernel of its own. */
export const depthwiseConv2d: OpSpec<ConvAttributes> = {
  infer([x, weight, bias], attributes) {
    expectRank("depthwiseConv2d", "x", x ?? [], 4);
    const [n, c, h, w] = x as Map4;
    expectShape("depthwiseConv2d", "weight", weight ?? [], [c, 1, attributes.kernel, attributes.kernel]);
    if (bias) expectShape("depthwiseConv2d", "bias", bias, [c]);
    return [[n, c, ...convOutput("depthwiseConv2d", h, w, attributes)]];
  },
  evaluate([x, weight, bias], attributes) {
    const [input, filter] = [x as Array64, weight as Array64];
    const [n, c, h, w] = input.shape as Map4;
    const { kernel, stride } = attributes;
    const [before] = paddingOf(attributes);
    const [oh, ow] = convOutput("depthwiseConv2d", h, w, attributes);
    const result = array64([n, c, oh, ow]);
    for (let k = 0; k < result.data.length; k++) {
      const [ox, oy, map] = [k % ow, Math.floor(k / ow) % oh, Math.floor(k / (ow * oh))];
      const channel = map % c;
      let sum = bias?.data[channel] ?? 0;
      for (let ky = 0; ky < kernel; ky++)
        for (let kx = 0; kx < kernel; kx++) {
          const [iy, ix] = [oy * stride + ky - before, ox * stride + kx - before];
          if (iy < 0 || iy >= h || ix < 0 || ix >= w) continue;
          sum += (input.data[(map * h + iy) * w + ix] as number) * (filter.data[(channel * kernel + ky) * kernel + kx] as number);
        }
      result.data[k] = sum;
    }
    return [result];
  },
  gradient: { none: "networks with it are used as they are: they give features, and a classifier learns on those" },
  lower: (builder, lowering, [x, weight, bias], attributes, [shape]) => [
    lowering.depthwiseConv2d(builder, x as Emitted, weight as Emitted, bias ?? null, attributes, shape as readonly number[]),
  ],
};
