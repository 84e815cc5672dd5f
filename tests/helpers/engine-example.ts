import { differentiate } from "../../src/nn/grad.ts";
import { Graph } from "../../src/nn/graph.ts";
import type { Value } from "../../src/nn/ops/op-spec.ts";

/** The example of docs/engine.md, which shows the lines of this function: a linear layer with relu, its loss and one step of SGD. */
export function buildEngineExample(): Graph {
  const graph = new Graph();
  const x = graph.input("x", [4, 3]); // four examples of three numbers
  const targets = graph.input("targets", [4, 2]); // a distribution over two classes for each
  const w = graph.input("w", [2, 3], { parameter: true });
  const b = graph.input("b", [2], { parameter: true });
  const rate = graph.input("rate", []);

  const product = graph.apply("matmul", [x, w], { transposeB: true });
  const y = graph.apply("relu", [graph.add(product, b)], {});
  const [loss] = graph.applyAll("softmaxCrossEntropy", [y, targets], {}) as [Value];

  const [dw, db] = differentiate(graph, loss, [w, b]) as [Value, Value];
  graph.output("loss", loss);
  graph.output("next:w", graph.subtract(w, graph.multiply(dw, rate)));
  graph.output("next:b", graph.subtract(b, graph.multiply(db, rate)));
  return graph;
}
