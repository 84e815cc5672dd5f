import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { Graph } from "../../../src/nn/graph.ts";
import { lowerGraph } from "../../../src/nn/lower.ts";
import { OPS } from "../../../src/nn/ops/index.ts";
import { evaluateGraph } from "../../../src/nn/reference.ts";
import { encodeModel } from "../../../src/onnx/encode.ts";
import type { OnnxInitializer, OnnxModel } from "../../../src/onnx/model.ts";
import { onnxruntime } from "../../../src/runtime/onnxruntime.ts";
import { buildEngineExample } from "../../helpers/engine-example.ts";
import { randomArray } from "../../helpers/random-array.ts";

const root = join(import.meta.dirname, "../../..");
let page: string;
beforeAll(async () => {
  page = await readFile(join(root, "docs/engine.md"), "utf8");
});

/** The page as a reader sees it: where its lines end says nothing. */
const prose = (): string => page.replaceAll(/\s+/g, " ");

function blocks(language: string): string[] {
  return [...page.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, "g"))].map((match) => match[1] as string);
}

/** `v5 [4,2] = matmul(x, w) {"transposeB":true}`: one line for each node; constants are shown by their value. */
function listGraph(graph: Graph): string[] {
  const names = new Map<number, string>();
  for (const [name, { id }] of graph.inputs) names.set(id, name);
  for (const [{ id }, data] of graph.constants) names.set(id, [...data].join());
  return graph.nodes.map(({ op, inputs, outputs, attributes }) => {
    for (const { id } of outputs) names.set(id, `v${id}`);
    const shown = Object.keys(attributes).length > 0 ? ` ${JSON.stringify(attributes)}` : "";
    const left = outputs.map(({ id, shape }) => `v${id} [${shape.join()}]`).join(", ");
    return `${left} = ${op}(${inputs.map(({ id }) => names.get(id)).join(", ")})${shown}`;
  });
}

function constantText({ dtype, bytes }: OnnxInitializer): string {
  const { buffer } = Uint8Array.from(bytes);
  return dtype === "int64" ? `[${[...new BigInt64Array(buffer)].join()}]` : [...new Float32Array(buffer)].join();
}

/** `%0 = Gemm(x, w) {"transA":0,"transB":1}`. */
function listModel({ nodes, initializers }: OnnxModel): string[] {
  const constants = new Map(initializers.map((initializer) => [initializer.name, constantText(initializer)]));
  return nodes.map(({ op, inputs, outputs, attributes }) => {
    const values = Object.fromEntries(Object.entries(attributes).map(([name, { value }]) => [name, value]));
    const shown = Object.keys(values).length > 0 ? ` ${JSON.stringify(values)}` : "";
    return `${outputs.join(", ")} = ${op}(${inputs.map((name) => constants.get(name) ?? name).join(", ")})${shown}`;
  });
}

describe("docs/engine.md", () => {
  test("shows the lines of the example that the other tests here run", async () => {
    const source = await readFile(join(root, "tests/helpers/engine-example.ts"), "utf8");
    const [shown] = blocks("ts") as [string];
    expect(source.replaceAll(/^ {2}/gm, "")).toContain(shown.trimEnd());
  });

  test("lists the nodes of the graph, and those of the ONNX model, as they are", () => {
    const graph = buildEngineExample();
    const [nodes, onnx] = blocks("text").map((block) => block.trimEnd().split("\n")) as [string[], string[]];
    expect(nodes.filter((line) => !line.startsWith("#"))).toEqual(listGraph(graph));
    expect(onnx).toEqual(listModel(lowerGraph(graph, { blockSize: 0, name: "example" })));
    expect(onnx).toEqual(listModel(lowerGraph(graph, { blockSize: 16, name: "example" })));
  });

  test("has a picture with the same nodes", async () => {
    const svg = await readFile(join(root, "docs/images/engine-graph.svg"), "utf8");
    const drawn = [...svg.matchAll(/class="op"[^>]*>(\w+)<\/text>\n<text class="sub"[^>]*>v(\d+)/g)].map(([, op, id]) => `v${id} ${op}`);
    const nodes = buildEngineExample().nodes.map(({ op, outputs }) => `v${outputs[0]?.id} ${op}`);
    expect(drawn.sort()).toEqual(nodes.sort());
  });

  test("counts the nodes of a block of the network in both lowerings, and the operators of MLAS, correctly", () => {
    const graph = new Graph();
    const x = graph.input("x", [2, 16, 8, 8]);
    const [w, gamma, beta] = (
      [
        ["w", [32, 16, 3, 3]],
        ["gamma", [32]],
        ["beta", [32]],
      ] as const
    ).map(([name, shape]) => graph.input(name, shape, { parameter: true })) as [typeof x, typeof x, typeof x];
    const maps = graph.apply("conv2d", [x, w], { kernel: 3, stride: 1, padding: 1 });
    graph.output("y", graph.apply("batchNormReluMaxPool", [maps, gamma, beta], { epsilon: 1e-5 }));
    const lowered = [0, 16].map((blockSize) => lowerGraph(graph, { blockSize, name: "block" }).nodes);
    expect(prose()).toContain(`${lowered[0]?.length} ONNX nodes in the portable lowering and ${lowered[1]?.length} in the blocked one`);
    const special = lowered[1]?.filter(({ domain }) => domain === "com.microsoft.nchwc").map(({ op }) => op);
    expect(special).toEqual(["ReorderInput", "ReorderInput", "ReorderInput", "Conv", "MaxPool", "Conv", "Conv", "ReorderOutput"]);
    expect(lowered[0]?.every(({ domain }) => domain === "")).toBe(true);
  });

  test("names as many operations as there are", () => {
    expect(prose()).toContain(`All ${Object.keys(OPS).length} operations`);
  });

  test("states the gradients that the engine computes", async () => {
    const graph = buildEngineExample();
    const feeds: Record<string, Float64Array> = Object.fromEntries(
      [...graph.inputs].map(([name, { shape }], k) => [
        name,
        Float64Array.from(
          randomArray(
            shape.reduce((count, size) => count * size, 1),
            k + 1,
            -1,
            1,
          ),
          Math.fround,
        ),
      ]),
    );
    feeds["targets"] = Float64Array.of(1, 0, 0, 1, 0.25, 0.75, 1, 0);
    feeds["rate"] = Float64Array.of(0.5);
    const { loss, "next:w": next } = evaluateGraph(graph, feeds);
    const { x, w, b, targets } = feeds as Record<"x" | "w" | "b" | "targets", Float64Array>;

    // The page's formulas, written out: D = gate(P - T) / N and dL/dW = D' X.
    const at = (data: Float64Array, k: number): number => data[k] as number;
    const dw = new Float64Array(6);
    let sum = 0;
    for (let i = 0; i < 4; i++) {
      const y = [0, 1].map((k) =>
        Math.max(
          0,
          [0, 1, 2].reduce((total, j) => total + at(x, i * 3 + j) * at(w, k * 3 + j), at(b, k)),
        ),
      );
      const total = y.reduce((all, value) => all + Math.exp(value), 0);
      y.forEach((value, k) => {
        const probability = Math.exp(value) / total;
        sum -= (at(targets, i * 2 + k) * Math.log(probability)) / 4;
        const d = value > 0 ? (probability - at(targets, i * 2 + k)) / 4 : 0;
        for (let j = 0; j < 3; j++) dw[k * 3 + j] = at(dw, k * 3 + j) + d * at(x, i * 3 + j);
      });
    }
    expect(loss?.data[0]).toBeCloseTo(sum, 12);
    dw.forEach((gradient, k) => expect(next?.data[k]).toBeCloseTo(at(w, k) - 0.5 * gradient, 12));

    const session = await onnxruntime.createSession(encodeModel(lowerGraph(graph, { blockSize: 0, name: "example" })), { threads: 1 });
    const run = await session.run(
      Object.fromEntries(
        [...graph.inputs].map(([name, { shape, dtype }]) => [name, { dtype, shape, data: Float32Array.from(feeds[name] as Float64Array) }]),
      ),
    );
    await session.close();
    expect(run["loss"]?.data[0]).toBeCloseTo(sum, 6);
    dw.forEach((gradient, k) => expect(run["next:w"]?.data[k]).toBeCloseTo(at(w, k) - 0.5 * gradient, 6));
  });
});
