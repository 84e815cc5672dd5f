import { ServalError } from "../errors/serval-error.ts";
import { elementCount } from "../onnx/builder.ts";
import { OPS } from "./ops/index.ts";
import type { OpAttributes, OpName } from "./ops/op-attributes.ts";
import type { GraphEditor, AnyOpSpec, GraphNode, Value } from "./ops/op-spec.ts";

/**
 * A static computation: nodes in the order in which they were applied, so every input precedes its use. It knows
 * nothing of ONNX; `lower.ts` turns it into a model, `reference.ts` evaluates it in float64.
 */
export class Graph implements GraphEditor {
  readonly inputs: Map<string, Value> = new Map();
  readonly outputs: Map<string, Value> = new Map();
  readonly constants: Map<Value, Float32Array> = new Map();
  readonly nodes: GraphNode[] = [];
  #ids = 0;

  #value(shape: readonly number[], dtype: Value["dtype"], differentiable: boolean): Value {
    return { id: this.#ids++, shape, dtype, differentiable };
  }

  /** A tensor that is fed at every run. Only parameters are differentiable. */
  input(name: string, shape: readonly number[], options: { dtype?: Value["dtype"]; parameter?: boolean } = {}): Value {
    if (this.inputs.has(name)) throw new ServalError("E_GRAPH", `Input "${name}" exists already in this graph.`);
    const value = this.#value(shape, options.dtype ?? "float32", options.parameter ?? false);
    this.inputs.set(name, value);
    return value;
  }

  constant(data: Float32Array, shape: readonly number[] = [data.length]): Value {
    if (elementCount(shape) !== data.length)
      throw new ServalError("E_GRAPH", `A constant of shape [${shape.join()}] got ${data.length} numbers.`);
    const value = this.#value(shape, "float32", false);
    this.constants.set(value, data);
    return value;
  }

  scalar(value: number): Value {
    return this.constant(Float32Array.of(value), []);
  }

  output(name: string, value: Value): void {
    if (this.outputs.has(name)) throw new ServalError("E_GRAPH", `Output "${name}" exists already in this graph.`);
    this.outputs.set(name, value);
  }

  /** Applies an op that has several outputs. Throws E_GRAPH where the shapes do not fit. */
  applyAll<K extends OpName>(op: K, inputs: readonly Value[], attributes: OpAttributes[K]): Value[] {
    const spec: AnyOpSpec<OpAttributes[K]> = OPS[op];
    const shapes = spec.infer(
      inputs.map((value) => value.shape),
      attributes,
    );
    const constant = typeof spec.gradient === "object" && "zero" in spec.gradient;
    const differentiable = !constant && inputs.some((value) => value.differentiable);
    const outputs = shapes.map((shape) => this.#value(shape, "float32", differentiable));
    this.nodes.push({ op, inputs, outputs, attributes });
    return outputs;
  }

  /** Applies an op that has one output. */
  apply<K extends OpName>(op: K, inputs: readonly Value[], attributes: OpAttributes[K]): Value {
    return this.applyAll(op, inputs, attributes)[0] as Value;
  }

  add(a: Value, b: Value): Value {
    return this.apply("add", [a, b], {});
  }

  subtract(a: Value, b: Value): Value {
    return this.apply("subtract", [a, b], {});
  }

  multiply(a: Value, b: Value): Value {
    return this.apply("multiply", [a, b], {});
  }

  divide(a: Value, b: Value): Value {
    return this.apply("divide", [a, b], {});
  }

  scale(a: Value, factor: number): Value {
    return this.multiply(a, this.scalar(factor));
  }

  reshape(a: Value, shape: readonly number[]): Value {
    return this.apply("reshape", [a], { shape });
  }
}
