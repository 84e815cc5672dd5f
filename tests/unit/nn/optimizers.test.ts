import { expect, test } from "vitest";
import { Graph } from "../../../src/nn/graph.ts";
import { adamScalars, OPTIMIZERS } from "../../../src/nn/optimizers.ts";
import { evaluateGraph } from "../../../src/nn/reference.ts";

const weightDecay = 0.05;
const rates = [0.01, 0.02, 0.005, 0.01];
const gradients = [
  [0.3, -2, 1e-6],
  [-0.1, 0.5, 0],
  [0.2, 0, 3e-6],
  [4, 0.1, -1e-6],
];

test("AdamW follows the formulas of its paper, step by step", () => {
  const graph = new Graph();
  const value = graph.input("w", [3], { parameter: true });
  const gradient = graph.input("g", [3]);
  const scalars = { learningRate: graph.input("rate", []), adamScale: graph.input("scale", []), adamEpsilon: graph.input("epsilon", []) };
  const parameter = { name: "w", value, decay: true, initial: { constant: 0 }, head: false, rateFactor: 1 };
  const update = OPTIMIZERS.adamw(graph, parameter, gradient, scalars, { momentum: 0, weightDecay });
  graph.output("next", update.next);
  for (const slot of update.slots) graph.output(slot.name, slot.next);

  let given: Record<string, Float64Array> = {
    w: Float64Array.of(1, -2, 0.5),
    "sum1:w": new Float64Array(3),
    "sum2:w": new Float64Array(3),
  };
  // Loshchilov and Hutter 2019, algorithm 2, with means and corrections written out.
  const [m, v, w] = [new Float64Array(3), new Float64Array(3), Float64Array.of(1, -2, 0.5)];
  for (const [i, rate] of rates.entries()) {
    const g = Float64Array.from(gradients[i] ?? []);
    const { adamScale, adamEpsilon } = adamScalars(i + 1);
    const feeds = { ...given, g, rate: Float64Array.of(rate), scale: Float64Array.of(adamScale), epsilon: Float64Array.of(adamEpsilon) };
    const outputs = evaluateGraph(graph, feeds);
    const next = (name: string): Float64Array => (outputs[name] as { data: Float64Array }).data;
    given = { w: next("next"), "sum1:w": next("sum1:w"), "sum2:w": next("sum2:w") };
    for (let k = 0; k < 3; k++) {
      m[k] = 0.9 * (m[k] as number) + 0.1 * (g[k] as number);
      v[k] = 0.999 * (v[k] as number) + 0.001 * (g[k] as number) ** 2;
      const mean = (m[k] as number) / (1 - 0.9 ** (i + 1));
      const square = (v[k] as number) / (1 - 0.999 ** (i + 1));
      w[k] = (w[k] as number) * (1 - rate * weightDecay) - (rate * mean) / (Math.sqrt(square) + 1e-8);
      expect((given["w"] as Float64Array)[k], `step ${i + 1}, number ${k}`).toBeCloseTo(w[k] as number, 8);
    }
  }
});

test.each(["sgd", "adamw"] as const)("%s moves a parameter by its own share of the learning rate, decay included", (optimizer) => {
  const change = (rateFactor: number, rate: number): number[] => {
    const graph = new Graph();
    const [value, gradient] = [graph.input("w", [3], { parameter: true }), graph.input("g", [3])];
    const scalars = { learningRate: graph.input("rate", []), adamScale: graph.input("scale", []), adamEpsilon: graph.input("epsilon", []) };
    const parameter = { name: "w", value, decay: true, initial: { constant: 0 }, head: false, rateFactor };
    const update = OPTIMIZERS[optimizer](graph, parameter, gradient, scalars, { momentum: 0.9, weightDecay });
    graph.output("next", update.next);
    const [w, zeros] = [Float64Array.of(1, -2, 0.5), new Float64Array(3)];
    const { adamScale, adamEpsilon } = adamScalars(1);
    const fed = { rate: Float64Array.of(rate), scale: Float64Array.of(adamScale), epsilon: Float64Array.of(adamEpsilon) };
    const slots = { "velocity:w": zeros, "sum1:w": zeros, "sum2:w": zeros };
    const outputs = evaluateGraph(graph, { w, g: Float64Array.from(gradients[0] as number[]), ...fed, ...slots });
    return [...(outputs["next"] as { data: Float64Array }).data].map((next, k) => next - (w[k] as number));
  };
  const [whole, third] = [change(1, 0.01), change(0.3, 0.01)];
  third.forEach((moved, k) => expect(moved).toBeCloseTo(0.3 * (whole[k] as number), 9));
  expect(Math.abs(third[0] as number)).toBeGreaterThan(1e-3);
});
