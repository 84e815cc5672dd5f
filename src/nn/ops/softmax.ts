import type { NoAttributes } from "./op-attributes.ts";
import { array64, expectRank, expectShape, type Array64, type OpSpec } from "./op-spec.ts";

function evaluateSoftmax(logits: Array64): Array64 {
  const [n, k] = logits.shape as [number, number];
  const result = array64([n, k]);
  for (let row = 0; row < n; row++) {
    const values = logits.data.subarray(row * k, row * k + k);
    const highest = Math.max(...values);
    const total = values.reduce((sum, value) => sum + Math.exp(value - highest), 0);
    values.forEach((value, column) => (result.data[row * k + column] = Math.exp(value - highest) / total));
  }
  return result;
}

/** logits [N,K] -> probabilities [N,K]. */
export const softmax: OpSpec<NoAttributes, 1> = {
  infer([logits]) {
    expectRank("softmax", "logits", logits, 2);
    return [logits];
  },
  evaluate: ([logits]) => [evaluateSoftmax(logits)],
  gradient(graph, node, dy) {
    const y = node.outputs[0];
    const inner = graph.apply("sumTo", [graph.multiply(dy, y)], { shape: [y.shape[0] as number, 1] });
    return [graph.multiply(y, graph.apply("subtract", [dy, inner], {}))];
  },
  lower: (builder, _lowering, [logits], _attributes, [shape]) => [builder.node("Softmax", [logits], shape, { attributes: { axis: 1 } })],
};

/**
 * Mean cross-entropy of logits [N,K] against target distributions [N,K] (one-hot, or smoothed; each sums to 1): loss [] in nats, and the
 * probabilities [N,K] without a separate gradient.
 */
export const softmaxCrossEntropy: OpSpec<NoAttributes, 2, 2> = {
  infer([logits, target]) {
    expectRank("softmaxCrossEntropy", "logits", logits, 2);
    expectShape("softmaxCrossEntropy", "target", target, logits);
    return [[], logits];
  },
  evaluate([logits, target]) {
    const probabilities = evaluateSoftmax(logits);
    const n = probabilities.shape[0] as number;
    const loss = probabilities.data.reduce((sum, p, k) => sum - ((target.data[k] as number) * Math.log(p)) / n, 0);
    return [array64([], Float64Array.of(loss)), probabilities];
  },
  gradient(graph, node, dLoss) {
    const [logits, target] = node.inputs;
    const probabilities = node.outputs[1];
    const error = graph.scale(graph.apply("subtract", [probabilities, target], {}), 1 / (logits.shape[0] as number));
    return [graph.multiply(error, dLoss), undefined];
  },
  lower(builder, _lowering, [logits, target], _attributes, [, shape]) {
    const [n, k] = shape as [number, number];
    const logProbabilities = builder.node("LogSoftmax", [logits], [n, k], { attributes: { axis: 1 } });
    const weighted = builder.node("Mul", [logProbabilities, target], [n, k]);
    const sum = builder.node("ReduceSum", [weighted], [], { attributes: { keepdims: 0 } });
    return [builder.node("Mul", [sum, builder.scalar(-1 / n)], []), builder.node("Exp", [logProbabilities], [n, k])];
  },
};
