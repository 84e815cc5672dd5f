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
  /** What the step's learning rate is multiplied by for it; 0 where it does not learn. */
  readonly rateFactor: number;
}

/** A tensor that a training step updates without a gradient: running means and variances. */
export interface Statistic extends Variable {
  readonly next: Value;
}

/** He initialisation for layers that a relu follows: std = sqrt(2 / fan-in). He et al. 2015, arXiv:1502.01852. */
export function heNormal(fanIn: number): Initial {
  return { std: Math.sqrt(2 / fanIn) };
}

export interface NetworkOptions {
  /** What the learning rate is multiplied by for the parameter of this name; default 1 for all. At 0 it keeps its value. */
  readonly rateFactor?: ((name: string) => number) | undefined;
  /** Whether batch normalisation takes the running statistics as they are, instead of the batch's; default false. */
  readonly frozenStatistics?: boolean | undefined;
}

/** Collects what a network owns while its architecture is applied to a graph. */
export class Network {
  readonly graph: Graph;
  readonly frozenStatistics: boolean;
  readonly parameters: Parameter[] = [];
  readonly statistics: Statistic[] = [];
  readonly #rateFactor: (name: string) => number;

  constructor(graph: Graph, { rateFactor = () => 1, frozenStatistics = false }: NetworkOptions = {}) {
    this.graph = graph;
    this.frozenStatistics = frozenStatistics;
    this.#rateFactor = rateFactor;
  }

  /** Throws E_GRAPH where the factor of its learning rate is not a number from 0. */
  parameter(name: string, shape: readonly number[], initial: Initial, options: { decay: boolean; head?: boolean }): Value {
    const rateFactor = this.#rateFactor(name);
    if (!(rateFactor >= 0 && Number.isFinite(rateFactor)))
      throw new ServalError("E_GRAPH", `The learning rate of "${name}" is multiplied by ${rateFactor}; expected 0 or a positive number.`);
    const value = this.graph.input(name, shape, { parameter: rateFactor > 0 });
    this.parameters.push({ name, value, initial, decay: options.decay, head: options.head ?? false, rateFactor });
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
