import type { Activation } from "../../onnx/lowering.ts";
import { array64, type Array64, type GraphEditor, type Value } from "./op-spec.ts";

const LIMITS: Readonly<Record<Activation, readonly [low: number, high: number]>> = {
  none: [-Infinity, Infinity],
  relu: [0, Infinity],
  relu6: [0, 6],
};

export function evaluateActivation(x: Array64, activation: Activation): Array64 {
  const [low, high] = LIMITS[activation];
  return array64(
    x.shape,
    x.data.map((value) => Math.min(high, Math.max(low, value))),
  );
}

/** `d` where the activation's result `y` is inside its limits, else 0. */
export function evaluateGate(d: Array64, y: Array64, activation: Activation): Array64 {
  const [low, high] = LIMITS[activation];
  const passes = (value: number): boolean => value > low && value < high;
  return array64(
    d.shape,
    d.data.map((value, k) => (passes(y.data[k] as number) ? value : 0)),
  );
}

/** The gradient in front of an activation, of the one behind it and of what it gave. */
export function gateOf(graph: GraphEditor, dy: Value, y: Value, activation: Activation = "none"): Value {
  if (activation === "none") return dy;
  return graph.apply(activation === "relu" ? "positiveGate" : "relu6Gate", [dy, y], {});
}
