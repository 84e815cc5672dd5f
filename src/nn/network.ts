import { ServalError } from "../errors/serval-error.ts";
import type { Graph } from "./graph.ts";
import type { Value } from "./ops/op-spec.ts";

/** How a tensor starts: a constant, or normal numbers of the given standard deviation. */
export type Initial = { readonly constant: number } | { readonly std: number };

export interface Variable {
  readonly name: string;
  readonly value: Value;
  readonly initial: Initial;
}

export interface Parameter extends Variable {
  /** Whether weight decay applies: not to biases and not to normalisation. */
  readonly decay: boolean;
  /** Part of the classifier, whose size depends on the classes; everything else is the backbone. */
  readonly head: boolean;
}

/** A tensor that a training step updates without a gradient: running means and variances. */
export interface Statistic extends Variable {
  readonly next: Value;
}

/** He initialisation for layers that a relu follows: std = sqrt(2 / fan-in). He et al. 2015, arXiv:1502.01852. */
export function heNormal(fanIn: number): Initial {
  return { std: Math.sqrt(2 / fanIn) };
}

/** Collects what a network owns while its architecture is applied to a graph. */
export class Network {
  readonly graph: Graph;
  readonly parameters: Parameter[] = [];
  readonly statistics: Statistic[] = [];

  constructor(graph: Graph) {
    this.graph = graph;
  }

  parameter(name: string, shape: readonly number[], initial: Initial, options: { decay: boolean; head?: boolean }): Value {
    const value = this.graph.input(name, shape, { parameter: true });
    this.parameters.push({ name, value, initial, decay: options.decay, head: options.head ?? false });
    return value;
  }

  /** `update` gets the statistic's value before the step and gives the one after it. */
  statistic(name: string, shape: readonly number[], initial: Initial): { value: Value; update: (next: Value) => void } {
    const value = this.graph.input(name, shape);
    return { value, update: (next) => void this.statistics.push({ name, value, initial, next }) };
  }
}

/** The tensor `name` of a trained network; throws E_WEIGHTS where it is missing or has another size. */
export function weightOf(weights: Readonly<Record<string, Float32Array>>, name: string, count: number): Float32Array {
  const data = weights[name];
  if (data?.length !== count)
    throw new ServalError("E_WEIGHTS", `Weight "${name}": got ${data ? `${data.length} numbers` : "nothing"}, expected ${count} numbers.`);
  return data;
}
