import { expect, test } from "vitest";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { differentiate } from "../../../src/nn/grad.ts";
import { Graph } from "../../../src/nn/graph.ts";
import type { Value } from "../../../src/nn/ops/op-spec.ts";
import { evaluateGraph } from "../../../src/nn/reference.ts";

function failure(work: () => unknown): ServalError {
  try {
    work();
  } catch (error) {
    if (error instanceof ServalError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const total = (graph: Graph, value: Value): Value => graph.apply("sumTo", [value], { shape: [] });

test("an op without a gradient between a parameter and the loss is an error that names it, also where another way has a gradient", () => {
  const graph = new Graph();
  const w = graph.input("w", [4], { parameter: true });
  const gated = graph.apply("positiveGate", [w, w], {});
  const { code, message } = failure(() => differentiate(graph, total(graph, graph.add(w, gated)), [w]));
  expect(code).toBe("E_GRAPH");
  expect(message).toContain("positiveGate");
  expect(message).toContain("no gradient");
});

test("an op without a gradient matters only where a value that is asked for passes it", () => {
  const graph = new Graph();
  const [w, other] = [graph.input("w", [2], { parameter: true }), graph.input("other", [2], { parameter: true })];
  const loss = total(graph, graph.multiply(w, graph.apply("positiveGate", [other, other], {})));
  const [gradient] = differentiate(graph, loss, [w]) as [Value];
  graph.output("gradient", gradient);
  const result = evaluateGraph(graph, { w: Float64Array.of(1, 2), other: Float64Array.of(3, -1) });
  expect([...result["gradient"]!.data]).toEqual([3, 0]);
});

test("a sign has a gradient of zero, which is correct: what it multiplies keeps its own", () => {
  const graph = new Graph();
  const w = graph.input("w", [2], { parameter: true });
  const loss = total(graph, graph.multiply(w, graph.apply("signOf", [w], {})));
  graph.output("gradient", differentiate(graph, loss, [w])[0] as Value);
  expect([...evaluateGraph(graph, { w: Float64Array.of(-3, 2) })["gradient"]!.data]).toEqual([-1, 1]);
});

test("a loss that is made of an op's second output, which has no gradient, is an error", () => {
  const graph = new Graph();
  const x = graph.input("x", [2, 3, 2, 2], { parameter: true });
  const [gamma, beta] = [graph.constant(Float32Array.of(1, 1, 1)), graph.constant(Float32Array.of(0, 0, 0))];
  const [y, mean] = graph.applyAll("batchNorm", [x, gamma, beta], { epsilon: 1e-3, activation: "none" }) as [Value, Value];
  const { code, message } = failure(() => differentiate(graph, graph.add(total(graph, y), total(graph, mean)), [x]));
  expect(code).toBe("E_GRAPH");
  expect(message).toContain("batchNorm");
});

test("an input of an op that the op gives no gradient is an error, if it is asked for", () => {
  const graph = new Graph();
  const [logits, target] = [graph.input("logits", [2, 2], { parameter: true }), graph.input("target", [2, 2], { parameter: true })];
  const [loss] = graph.applyAll("softmaxCrossEntropy", [logits, graph.scale(target, 2)], {}) as [Value];
  expect(differentiate(graph, loss, [logits])).toHaveLength(1);
  const { code, message } = failure(() => differentiate(graph, loss, [target]));
  expect(code).toBe("E_GRAPH");
  expect(message).toContain("softmaxCrossEntropy");
});
