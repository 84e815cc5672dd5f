import type { Map4 } from "../../onnx/builder.ts";
import { paddingOf, type ConvAttributes, type ConvLayerAttributes } from "../../onnx/lowering.ts";
import { evaluateActivation, gateOf } from "./activation.ts";
import { convOutput } from "./convolution.ts";
import type { ConvInputGradAttributes } from "./op-attributes.ts";
import { array64, expectRank, expectShape, type OpSpec } from "./op-spec.ts";

/**
 * Calls `visit` with the offsets of x, weight and y for each product that a depthwise convolution sums: the one loop that the forward pass
 * and both gradients share in the reference.
 */
function forEachProduct(x: Map4, y: Map4, attributes: ConvAttributes, visit: (x: number, weight: number, y: number) => void): void {
  const [, c, h, w] = x;
  const [n, , oh, ow] = y;
  const { kernel, stride } = attributes;
  const [before] = paddingOf(attributes);
  for (let k = 0; k < n * c * oh * ow; k++) {
    const [ox, oy, map] = [k % ow, Math.floor(k / ow) % oh, Math.floor(k / (ow * oh))];
    for (let ky = 0; ky < kernel; ky++)
      for (let kx = 0; kx < kernel; kx++) {
        const [iy, ix] = [oy * stride + ky - before, ox * stride + kx - before];
        if (iy < 0 || iy >= h || ix < 0 || ix >= w) continue;
        visit((map * h + iy) * w + ix, ((map % c) * kernel + ky) * kernel + kx, k);
      }
  }
}

function accumulate(target: Float64Array, at: number, amount: number): void {
  target[at] = (target[at] as number) + amount;
}

/** x [N,C,H,W], weight [C,1,K,K], optional bias [C] -> [N,C,H',W'], then the activation: every channel is filtered by its own kernel. */
export const depthwiseConv2d: OpSpec<ConvLayerAttributes, 2, 1, true> = {
  infer([x, weight, bias], attributes) {
    expectRank("depthwiseConv2d", "x", x, 4);
    const [n, c, h, w] = x as Map4;
    expectShape("depthwiseConv2d", "weight", weight, [c, 1, attributes.kernel, attributes.kernel]);
    if (bias) expectShape("depthwiseConv2d", "bias", bias, [c]);
    return [[n, c, ...convOutput("depthwiseConv2d", h, w, attributes)]];
  },
  evaluate([input, filter, bias], attributes) {
    const [n, c, h, w] = input.shape as Map4;
    const shape: Map4 = [n, c, ...convOutput("depthwiseConv2d", h, w, attributes)];
    const result = array64(shape);
    forEachProduct(input.shape as Map4, shape, attributes, (xAt, weightAt, yAt) =>
      accumulate(result.data, yAt, (input.data[xAt] as number) * (filter.data[weightAt] as number)),
    );
    const pixels = shape[2] * shape[3];
    if (bias) for (let k = 0; k < result.data.length; k++) accumulate(result.data, k, bias.data[Math.floor(k / pixels) % c] as number);
    return [evaluateActivation(result, attributes.activation ?? "none")];
  },
  gradient(graph, node, dy) {
    const [x, weight, bias] = node.inputs;
    const { activation, ...attributes } = node.attributes;
    const d = gateOf(graph, dy, node.outputs[0], activation);
    return [
      x.differentiable ? graph.apply("depthwiseInputGrad", [d, weight], { ...attributes, inputShape: x.shape }) : undefined,
      weight.differentiable ? graph.apply("depthwiseWeightGrad", [x, d], attributes) : undefined,
      bias?.differentiable ? graph.apply("channelSum", [d], {}) : undefined,
    ];
  },
  lower: (builder, lowering, [x, weight, bias], attributes, [shape]) => [
    lowering.depthwiseConv2d(builder, x, weight, bias ?? null, attributes, shape),
  ],
};

export const depthwiseInputGrad: OpSpec<ConvInputGradAttributes, 2> = {
  infer: (_shapes, { inputShape }) => [inputShape],
  evaluate([dy, weight], attributes) {
    const result = array64(attributes.inputShape);
    forEachProduct(attributes.inputShape as Map4, dy.shape as Map4, attributes, (xAt, weightAt, yAt) =>
      accumulate(result.data, xAt, (dy.data[yAt] as number) * (weight.data[weightAt] as number)),
    );
    return [result];
  },
  gradient: { none: "Serval differentiates once" },
  lower: (builder, lowering, [dy, weight], attributes) => [
    lowering.depthwiseInputGrad(builder, dy, weight, attributes, attributes.inputShape),
  ],
};

export const depthwiseWeightGrad: OpSpec<ConvAttributes, 2> = {
  infer([x, dy], attributes) {
    const [n, c, h, w] = x as Map4;
    expectShape("depthwiseWeightGrad", "dy", dy, [n, c, ...convOutput("depthwiseWeightGrad", h, w, attributes)]);
    return [[c, 1, attributes.kernel, attributes.kernel]];
  },
  evaluate([input, d], attributes) {
    const result = array64([input.shape[1] as number, 1, attributes.kernel, attributes.kernel]);
    forEachProduct(input.shape as Map4, d.shape as Map4, attributes, (xAt, weightAt, yAt) =>
      accumulate(result.data, weightAt, (input.data[xAt] as number) * (d.data[yAt] as number)),
    );
    return [result];
  },
  gradient: { none: "Serval differentiates once" },
  lower: (builder, lowering, [x, dy], attributes, [shape]) => [lowering.depthwiseWeightGrad(builder, x, dy, attributes, shape)],
};
