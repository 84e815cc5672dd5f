import type { Activation, ConvAttributes } from "../../onnx/lowering.ts";
import { gateOf } from "./activation.ts";
import { conv2d, conv2dInputGrad, conv2dWeightGrad } from "./convolution.ts";
import type { NoAttributes, PointwiseAttributes } from "./op-attributes.ts";
import type { OpSpec, Shape } from "./op-spec.ts";

const geometry: ConvAttributes = { kernel: 1, stride: 1, padding: 0 };

function layer({ activation }: PointwiseAttributes): ConvAttributes & { readonly activation?: Activation } {
  return activation ? { ...geometry, activation } : geometry;
}

/**
 * x [N,C,H,W], weight [O,C,1,1], optional bias [O] -> [N,O,H,W], then the activation: what conv2d does with a kernel of one pixel. It is a separate op
 * because pixels then have no neighbours, and a lowering may lay them out as it likes.
 */
export const pointwiseConv2d: OpSpec<PointwiseAttributes, 2, 1, true> = {
  infer: (shapes, attributes) => conv2d.infer(shapes, layer(attributes)),
  evaluate: (inputs, attributes) => conv2d.evaluate(inputs, layer(attributes)),
  gradient(graph, node, dy) {
    const [x, weight, bias] = node.inputs;
    const d = gateOf(graph, dy, node.outputs[0], node.attributes.activation);
    return [
      x.differentiable ? graph.apply("pointwiseInputGrad", [d, weight], {}) : undefined,
      weight.differentiable ? graph.apply("pointwiseWeightGrad", [x, d], {}) : undefined,
      bias?.differentiable ? graph.apply("channelSum", [d], {}) : undefined,
    ];
  },
  lower: (builder, lowering, [x, weight, bias], { activation }, [shape]) => [
    lowering.pointwiseConv2d(builder, x, weight, bias ?? null, activation ?? "none", shape),
  ],
};

function inputShape(dy: Shape, weight: Shape): number[] {
  const [n, , ...sides] = dy;
  return [n as number, weight[1] as number, ...sides];
}

export const pointwiseInputGrad: OpSpec<NoAttributes, 2> = {
  infer: ([dy, weight]) => [inputShape(dy, weight)],
  evaluate: ([dy, weight]) => conv2dInputGrad.evaluate([dy, weight], { ...geometry, inputShape: inputShape(dy.shape, weight.shape) }),
  gradient: { none: "Serval differentiates once" },
  lower: (builder, lowering, [dy, weight], _attributes, [shape]) => [lowering.pointwiseInputGrad(builder, dy, weight, shape)],
};

export const pointwiseWeightGrad: OpSpec<NoAttributes, 2> = {
  infer: (shapes) => conv2dWeightGrad.infer(shapes, geometry),
  evaluate: (inputs) => conv2dWeightGrad.evaluate(inputs, geometry),
  gradient: { none: "Serval differentiates once" },
  lower: (builder, lowering, [x, dy], _attributes, [shape]) => [lowering.pointwiseWeightGrad(builder, x, dy, shape)],
};
