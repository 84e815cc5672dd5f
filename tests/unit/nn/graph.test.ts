import { describe, expect, test } from "vitest";
import { cnn4 } from "../../../src/nn/architectures/cnn4.ts";
import { differentiate } from "../../../src/nn/grad.ts";
import { Graph } from "../../../src/nn/graph.ts";
import { buildInferenceModel } from "../../../src/nn/inference-model.ts";

/** An E_GRAPH with this message. */
const graphError = (message: string): unknown => expect.objectContaining({ code: "E_GRAPH", message });

describe("a graph refuses", () => {
  test("shapes that do not fit an operation", () => {
    const graph = new Graph();
    const [a, b] = [graph.input("a", [2, 3]), graph.input("b", [4])];
    expect(() => graph.add(a, b)).toThrow(graphError("add: shapes [2,3] and [4] do not broadcast"));
  });

  test("two inputs or two outputs of one name, and a constant whose numbers do not fill its shape", () => {
    const graph = new Graph();
    const x = graph.input("x", [2]);
    expect(() => graph.input("x", [3])).toThrow(graphError('Input "x" exists already in this graph.'));
    graph.output("y", x);
    expect(() => graph.output("y", x)).toThrow(graphError('Output "y" exists already in this graph.'));
    expect(() => graph.constant(new Float32Array(5), [2, 3])).toThrow(graphError("A constant of shape [2,3] got 5 numbers."));
  });

  test("the gradient of what is not a single number, and of what the loss does not depend on", () => {
    const graph = new Graph();
    const [x, other] = ["x", "other"].map((name) => graph.input(name, [2], { parameter: true }));
    expect(() => differentiate(graph, x!, [x!])).toThrow(graphError("Only a scalar can be differentiated; the loss has shape [2]."));
    const loss = graph.apply("sumTo", [x!], { shape: [] });
    expect(() => differentiate(graph, loss, [other!])).toThrow(
      graphError("The loss does not depend on a value of shape [2] that its gradient is asked for."),
    );
  });
});

test("a network is not built from weights that are missing or of another size", () => {
  const options = { channels: [8], blocks: 1, classes: 2, height: 8, width: 8, temperature: 1 };
  const build = (weights: Record<string, Float32Array>): unknown => buildInferenceModel(cnn4, weights, options);
  const weightsError = (message: string): unknown => expect.objectContaining({ code: "E_WEIGHTS", message });
  expect(() => build({})).toThrow(weightsError('Weight "convs.0.weight": got nothing, expected 216 numbers.'));
  // Of a network for pictures of one channel.
  const weights = { "convs.0.weight": new Float32Array(72) };
  expect(() => build(weights)).toThrow(weightsError('Weight "convs.0.weight": got 72 numbers, expected 216 numbers.'));
});
