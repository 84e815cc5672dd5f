import type { Emitted, OnnxBuilder, Map4 } from "../../onnx/builder.ts";
import type { Lowering } from "../../onnx/lowering.ts";
import { evaluateActivation, evaluateGate } from "./activation.ts";
import type { BatchNormAttributes, NoAttributes, ResidualNormAttributes } from "./op-attributes.ts";
import { array64, expectRank, expectShape, type Array64, type OpSpec } from "./op-spec.ts";
import { evaluateChannelSum, evaluateMaxPool2, evaluateMaxPool2Grad, pooledShape } from "./pooling.ts";

function evaluateAffine(x: Array64, a: (channel: number) => number, b: (channel: number) => number): Array64 {
  const [, c, h, w] = x.shape as Map4;
  const channel = (k: number): number => Math.floor(k / (h * w)) % c;
  return array64(
    x.shape,
    x.data.map((value, k) => a(channel(k)) * value + b(channel(k))),
  );
}

/** a*x + b, one a and b a channel. x [N,C,H,W], a [C], b [C]. */
export const affine: OpSpec<NoAttributes, 3> = {
  infer([x, a, b]) {
    expectRank("affine", "x", x, 4);
    expectShape("affine", "a", a, [x[1] as number]);
    expectShape("affine", "b", b, [x[1] as number]);
    return [x];
  },
  evaluate([x, a, b]) {
    return [
      evaluateAffine(
        x,
        (c) => a.data[c] as number,
        (c) => b.data[c] as number,
      ),
    ];
  },
  gradient(graph, node, dy) {
    const [x, a, b] = node.inputs;
    return [
      x.differentiable ? graph.apply("affine", [dy, a, graph.scale(a, 0)], {}) : undefined,
      a.differentiable ? graph.apply("channelSum", [graph.multiply(dy, x)], {}) : undefined,
      b.differentiable ? graph.apply("channelSum", [dy], {}) : undefined,
    ];
  },
  lower: (builder, lowering, [x, a, b]) => [lowering.affine(builder, x, a, b)],
};

/**
 * Batch normalisation with the batch's own statistics, relu and 2x2 maxpool in one op: x [N,C,H,W], gamma [C] >= 0,
 * beta [C] -> y [N,C,H/2,W/2], mean [C], variance [C] (biased), pooled x, 1/sqrt(variance + epsilon).
 *
 * With gamma >= 0 the affine map and relu are monotone, so they commute with the maximum: pooling comes first and
 * everything after it works on a quarter of the data. (A layer gets gamma >= 0 by moving its sign into the convolution.)
 * The variance is E[x^2] - E[x]^2, so x should have a mean near zero: layers subtract the running mean in the
 * convolution's bias, which costs nothing. Batch normalisation: Ioffe and Szegedy 2015, arXiv:1502.03167.
 */
export const batchNormReluMaxPool: OpSpec<BatchNormAttributes, 3, 5> = {
  infer([x, gamma, beta]) {
    const c = x[1] as number;
    expectShape("batchNormReluMaxPool", "gamma", gamma, [c]);
    expectShape("batchNormReluMaxPool", "beta", beta, [c]);
    const pooled = pooledShape("batchNormReluMaxPool", x);
    return [pooled, [c], [c], pooled, [c]];
  },
  evaluate([x, gamma, beta], { epsilon }) {
    const [input, g, b] = [x, gamma, beta];
    const { mean, variance } = evaluateMoments(input);
    const inverse = variance.map((value) => 1 / Math.sqrt(value + epsilon));
    const slope = (c: number): number => (g.data[c] as number) * (inverse[c] as number);
    const normalised = evaluateAffine(input, slope, (c) => (b.data[c] as number) - (mean[c] as number) * slope(c));
    const y = evaluateMaxPool2(
      array64(
        input.shape,
        normalised.data.map((value) => Math.max(0, value)),
      ),
    );
    const channels = g.shape;
    return [y, array64(channels, mean), array64(channels, variance), evaluateMaxPool2(input), array64(channels, inverse)];
  },
  gradient(graph, node, dy) {
    const [x, gamma] = node.inputs;
    const [y, mean, , pooled, inverse] = node.outputs;
    return graph.applyAll("batchNormReluMaxPoolGrad", [x, gamma, y, mean, pooled, inverse, dy], {});
  },
  lower(builder, lowering, [x, gamma, beta], { epsilon }) {
    const op = vectorOps(builder, gamma);
    const pooled = lowering.maxPool2(builder, x);
    const { mean, variance, inverse } = lowerMoments(builder, lowering, x, epsilon);
    const a = op.multiply(gamma, inverse);
    const b = op.subtract(beta, op.multiply(mean, a));
    return [lowering.affine(builder, pooled, a, b, { activation: "relu" }), mean, variance, pooled, inverse];
  },
};

/** x, gamma, y, mean, pooled, inverse, dy -> gradients of x, gamma and beta. */
export const batchNormReluMaxPoolGrad: OpSpec<NoAttributes, 7, 3> = {
  infer: ([x, gamma]) => [x, gamma, gamma],
  evaluate(inputs) {
    const [x, gamma, y, mean, pooled, inverse, dy] = inputs;
    const count = x.data.length / gamma.data.length;
    const d = evaluateGate(dy, y, "relu");
    const normalise = (map: Array64): Array64 =>
      evaluateAffine(
        map,
        (c) => inverse.data[c] as number,
        (c) => -(mean.data[c] as number) * (inverse.data[c] as number),
      );
    const pooledNormalised = normalise(pooled);
    const dBeta = evaluateChannelSum(d);
    const dGamma = evaluateChannelSum(
      array64(
        d.shape,
        d.data.map((value, k) => value * (pooledNormalised.data[k] as number)),
      ),
    );
    // dx = gamma*inverse * (unpooled d - mean of d - normalised x * mean of d*normalised x)
    const unpooled = evaluateMaxPool2Grad(x, pooled, d);
    const correction = evaluateAffine(
      normalise(x),
      (c) => (dGamma.data[c] as number) / count,
      (c) => (dBeta.data[c] as number) / count,
    );
    const dx = evaluateAffine(
      array64(
        x.shape,
        unpooled.data.map((value, k) => value - (correction.data[k] as number)),
      ),
      (c) => (gamma.data[c] as number) * (inverse.data[c] as number),
      () => 0,
    );
    return [dx, dGamma, dBeta];
  },
  gradient: { none: "Serval differentiates once" },
  lower(builder, lowering, inputs) {
    const [x, gamma, y, mean, pooled, inverse, dy] = inputs;
    const op = vectorOps(builder, gamma);
    const [n, c, h, w] = x.shape as Map4;
    const d = lowering.gate(builder, dy, y, "relu");
    const dBeta = lowering.channelSum(builder, d);
    const dotPooled = lowering.channelDot(builder, d, pooled);
    const dGamma = op.multiply(inverse, op.subtract(dotPooled, op.multiply(mean, dBeta)));
    // The formula of the reference, collected into dx = slope*x + offset + unpooled(a*d): one affine pass over x.
    const a = op.multiply(gamma, inverse);
    const slope = op.scale(op.multiply(op.multiply(a, inverse), dGamma), -1 / (n * h * w));
    const offset = op.subtract(op.scale(op.multiply(a, dBeta), -1 / (n * h * w)), op.multiply(slope, mean));
    const scaled = lowering.affine(builder, d, a, builder.floats(new Float32Array(c)));
    const dx = lowering.affine(builder, x, slope, offset, { addend: lowering.maxPool2Grad(builder, x, pooled, scaled) });
    return [dx, dGamma, dBeta];
  },
};

/**
 * Batch normalisation with the batch's own statistics, then a residual and an activation where they are asked for: x [N,C,H,W],
 * gamma [C], beta [C], optional addend [N,C,H,W] -> y, mean [C], variance [C] (biased), 1/sqrt(variance + epsilon) [C].
 * As in batchNormReluMaxPool, x should have a mean near zero. Residual learning: He et al. 2016, arXiv:1512.03385.
 */
export const batchNorm: OpSpec<ResidualNormAttributes, 3, 4, true> = {
  infer([x, gamma, beta, addend]) {
    expectRank("batchNorm", "x", x, 4);
    const c = x[1] as number;
    expectShape("batchNorm", "gamma", gamma, [c]);
    expectShape("batchNorm", "beta", beta, [c]);
    if (addend) expectShape("batchNorm", "addend", addend, x);
    return [x, [c], [c], [c]];
  },
  evaluate([x, gamma, beta, addend], { epsilon, activation }) {
    const [input, g, b] = [x, gamma, beta];
    const { mean, variance } = evaluateMoments(input);
    const inverse = variance.map((value) => 1 / Math.sqrt(value + epsilon));
    const slope = (c: number): number => (g.data[c] as number) * (inverse[c] as number);
    const y = evaluateAffine(input, slope, (c) => (b.data[c] as number) - (mean[c] as number) * slope(c));
    const sum = addend ? y.data.map((value, k) => value + (addend.data[k] as number)) : y.data;
    const channels = g.shape;
    return [
      evaluateActivation(array64(y.shape, sum), activation),
      array64(channels, mean),
      array64(channels, variance),
      array64(channels, inverse),
    ];
  },
  gradient(graph, node, dy) {
    const [x, gamma] = node.inputs;
    const [y, mean, , inverse] = node.outputs;
    const { activation } = node.attributes;
    const gradients = graph.applyAll("batchNormGrad", [x, gamma, y, mean, inverse, dy], { activation });
    return node.inputs.length > 3 ? gradients : gradients.slice(0, 3);
  },
  lower(builder, lowering, [x, gamma, beta, addend], { epsilon, activation }) {
    const op = vectorOps(builder, gamma);
    const { mean, variance, inverse } = lowerMoments(builder, lowering, x, epsilon);
    const a = op.multiply(gamma, inverse);
    const b = op.subtract(beta, op.multiply(mean, a));
    return [lowering.affine(builder, x, a, b, addend ? { activation, addend } : { activation }), mean, variance, inverse];
  },
};

/** x, gamma, y, mean, inverse, dy -> gradients of x, gamma, beta and the addend. */
export const batchNormGrad: OpSpec<Pick<ResidualNormAttributes, "activation">, 6, 4> = {
  infer: ([x, gamma]) => [x, gamma, gamma, x],
  evaluate(inputs, { activation }) {
    const [x, gamma, y, mean, inverse, dy] = inputs;
    const count = x.data.length / gamma.data.length;
    const d = evaluateGate(dy, y, activation);
    const normalised = evaluateAffine(
      x,
      (c) => inverse.data[c] as number,
      (c) => -(mean.data[c] as number) * (inverse.data[c] as number),
    );
    const dBeta = evaluateChannelSum(d);
    const dGamma = evaluateChannelSum(
      array64(
        d.shape,
        d.data.map((value, k) => value * (normalised.data[k] as number)),
      ),
    );
    const correction = evaluateAffine(
      normalised,
      (c) => (dGamma.data[c] as number) / count,
      (c) => (dBeta.data[c] as number) / count,
    );
    const dx = evaluateAffine(
      array64(
        x.shape,
        d.data.map((value, k) => value - (correction.data[k] as number)),
      ),
      (c) => (gamma.data[c] as number) * (inverse.data[c] as number),
      () => 0,
    );
    return [dx, dGamma, dBeta, d];
  },
  gradient: { none: "Serval differentiates once" },
  lower(builder, lowering, inputs, { activation }) {
    const [x, gamma, y, mean, inverse, dy] = inputs;
    const op = vectorOps(builder, gamma);
    const [n, c, h, w] = x.shape as Map4;
    const d = lowering.gate(builder, dy, y, activation);
    const dBeta = lowering.channelSum(builder, d);
    const dot = lowering.channelDot(builder, d, x);
    const dGamma = op.multiply(inverse, op.subtract(dot, op.multiply(mean, dBeta)));
    // The formula of the reference, collected into dx = a*d + slope*x + offset.
    const a = op.multiply(gamma, inverse);
    const slope = op.scale(op.multiply(op.multiply(a, inverse), dGamma), -1 / (n * h * w));
    const offset = op.subtract(op.scale(op.multiply(a, dBeta), -1 / (n * h * w)), op.multiply(slope, mean));
    const scaled = lowering.affine(builder, d, a, builder.floats(new Float32Array(c)));
    return [lowering.affine(builder, x, slope, offset, { addend: scaled }), dGamma, dBeta, d];
  },
};

/** Mean and biased variance a channel, the second from centred values. */
function evaluateMoments(x: Array64): { mean: Float64Array; variance: Float64Array } {
  const count = x.data.length / (x.shape[1] as number);
  const mean = evaluateChannelSum(x).data.map((sum) => sum / count);
  const centred = evaluateAffine(
    x,
    () => 1,
    (c) => -(mean[c] as number),
  );
  const squares = array64(
    x.shape,
    centred.data.map((value) => value * value),
  );
  return { mean, variance: evaluateChannelSum(squares).data.map((sum) => sum / count) };
}

/** Mean, variance as E[x^2] - E[x]^2, and 1/sqrt(variance + epsilon) a channel. */
function lowerMoments(
  builder: OnnxBuilder,
  lowering: Lowering,
  x: Emitted,
  epsilon: number,
): { mean: Emitted; variance: Emitted; inverse: Emitted } {
  const [n, c, h, w] = x.shape as Map4;
  const sum = lowering.channelSum(builder, x);
  const op = vectorOps(builder, sum);
  const mean = op.scale(sum, 1 / (n * h * w));
  const meanSquare = op.scale(lowering.channelDot(builder, x, x), 1 / (n * h * w));
  const variance = builder.node("Max", [op.subtract(meanSquare, op.multiply(mean, mean)), builder.scalar(0)], [c]);
  const inverse = builder.node("Reciprocal", [builder.node("Sqrt", [op.add(variance, builder.scalar(epsilon))], [c])], [c]);
  return { mean, variance, inverse };
}

/** Arithmetic on vectors of one number a channel. */
function vectorOps(
  builder: OnnxBuilder,
  like: Emitted,
): Record<"add" | "subtract" | "multiply", (a: Emitted, b: Emitted) => Emitted> & { scale: (a: Emitted, factor: number) => Emitted } {
  const binary =
    (op: string) =>
    (a: Emitted, b: Emitted): Emitted =>
      builder.node(op, [a, b], like.shape);
  return {
    add: binary("Add"),
    subtract: binary("Sub"),
    multiply: binary("Mul"),
    scale: (a, factor) => binary("Mul")(a, builder.scalar(factor)),
  };
}
