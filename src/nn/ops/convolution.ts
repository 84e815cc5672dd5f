import type { Map4 } from "../../onnx/builder.ts";
import { paddingOf, type ConvAttributes, type ConvLayerAttributes } from "../../onnx/lowering.ts";
import { evaluateActivation, gateOf } from "./activation.ts";
import type { ConvInputGradAttributes } from "./op-attributes.ts";
import { array64, expectRank, expectShape, graphError, type OpSpec } from "./op-spec.ts";

function outputSize(size: number, attributes: ConvAttributes): number {
  const [before, after] = paddingOf(attributes);
  return Math.floor((size + before + after - attributes.kernel) / attributes.stride) + 1;
}

/** Height and width of what a convolution makes of maps [N,C,H,W]. Throws E_GRAPH where nothing is left. */
export function convOutput(op: string, h: number, w: number, attributes: ConvAttributes): [number, number] {
  const size: [number, number] = [outputSize(h, attributes), outputSize(w, attributes)];
  if (size.some((side) => side < 1))
    throw graphError(op, `an input of ${h}x${w} leaves nothing after a ${attributes.kernel}x${attributes.kernel} kernel`);
  return size;
}

/**
 * Calls `visit` with the offsets of x, weight and y for each product that a convolution sums: the one loop that the
 * forward pass and both gradients share in the reference.
 */
function forEachProduct(
  x: Map4,
  y: Map4,
  { kernel, stride, padding }: ConvAttributes,
  visit: (x: number, weight: number, y: number) => void,
): void {
  const [n, c, h, w] = x;
  const [, o, oh, ow] = y;
  for (let i = 0; i < n; i++)
    for (let f = 0; f < o; f++)
      for (let ch = 0; ch < c; ch++)
        for (let ky = 0; ky < kernel; ky++)
          for (let kx = 0; kx < kernel; kx++) {
            const weightAt = ((f * c + ch) * kernel + ky) * kernel + kx;
            for (let oy = 0; oy < oh; oy++) {
              const iy = oy * stride + ky - padding;
              if (iy < 0 || iy >= h) continue;
              for (let ox = 0; ox < ow; ox++) {
                const ix = ox * stride + kx - padding;
                if (ix >= 0 && ix < w) visit(((i * c + ch) * h + iy) * w + ix, weightAt, ((i * o + f) * oh + oy) * ow + ox);
              }
            }
          }
}

function accumulate(target: Float64Array, at: number, amount: number): void {
  target[at] = (target[at] as number) + amount;
}

/** x [N,C,H,W], weight [O,C,K,K], optional bias [O] -> [N,O,H',W'], then the activation. Correlation, as everywhere in the field. */
export const conv2d: OpSpec<ConvLayerAttributes, 2, 1, true> = {
  infer([x, weight, bias], attributes) {
    expectRank("conv2d", "x", x, 4);
    const [n, c, h, w] = x as Map4;
    const o = weight[0] ?? 0;
    expectShape("conv2d", "weight", weight, [o, c, attributes.kernel, attributes.kernel]);
    if (bias) expectShape("conv2d", "bias", bias, [o]);
    return [[n, o, ...convOutput("conv2d", h, w, attributes)]];
  },
  evaluate([input, filter, bias], attributes) {
    const [shape] = conv2d.infer([input.shape, filter.shape], attributes);
    const [n, o, oh, ow] = shape as Map4;
    const result = array64(shape);
    forEachProduct(input.shape as Map4, [n, o, oh, ow], attributes, (xAt, weightAt, yAt) =>
      accumulate(result.data, yAt, (input.data[xAt] as number) * (filter.data[weightAt] as number)),
    );
    if (bias) for (let k = 0; k < result.data.length; k++) accumulate(result.data, k, bias.data[Math.floor(k / (oh * ow)) % o] as number);
    return [evaluateActivation(result, attributes.activation ?? "none")];
  },
  gradient(graph, node, dy) {
    const [x, weight, bias] = node.inputs;
    const { activation, ...attributes } = node.attributes;
    const d = gateOf(graph, dy, node.outputs[0], activation);
    return [
      x.differentiable ? graph.apply("conv2dInputGrad", [d, weight], { ...attributes, inputShape: x.shape }) : undefined,
      weight.differentiable ? graph.apply("conv2dWeightGrad", [x, d], attributes) : undefined,
      bias?.differentiable ? graph.apply("channelSum", [d], {}) : undefined,
    ];
  },
  lower: (builder, lowering, [x, weight, bias], attributes, [shape]) => [
    lowering.conv2d(builder, x, weight, bias ?? null, attributes, shape),
  ],
};

export const conv2dInputGrad: OpSpec<ConvInputGradAttributes, 2> = {
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
    lowering.conv2dInputGrad(builder, dy, weight, attributes, attributes.inputShape),
  ],
};

export const conv2dWeightGrad: OpSpec<ConvAttributes, 2> = {
  infer([x, dy], attributes) {
    const { kernel } = attributes;
    const [n, , h, w] = x as Map4;
    expectShape("conv2dWeightGrad", "dy", dy, [n, dy[1] as number, outputSize(h, attributes), outputSize(w, attributes)]);
    return [[dy[1] as number, x[1] as number, kernel, kernel]];
  },
  evaluate([input, d], attributes) {
    const result = array64([d.shape[1] as number, input.shape[1] as number, attributes.kernel, attributes.kernel]);
    forEachProduct(input.shape as Map4, d.shape as Map4, attributes, (xAt, weightAt, yAt) =>
      accumulate(result.data, weightAt, (input.data[xAt] as number) * (d.data[yAt] as number)),
    );
    return [result];
  },
  gradient: { none: "Serval differentiates once" },
  lower: (builder, lowering, [x, dy], attributes, [shape]) => [lowering.conv2dWeightGrad(builder, x, dy, attributes, shape)],
};
