import type { Graph } from "./graph.ts";
import type { Parameter } from "./network.ts";
import type { Value } from "./ops/op-spec.ts";

/** One step of an optimizer for one parameter: its next value, and its memory before and after. */
export interface Update {
  readonly next: Value;
  /** Tensors that the optimizer keeps between steps; they start at zero. */
  readonly slots: readonly { readonly name: string; readonly value: Value; readonly next: Value }[];
}

/** Scalars [] that change from step to step and are fed. */
export interface OptimizerInputs {
  readonly learningRate: Value;
  /** AdamW's 1/(1-beta^t), for both moments. */
  readonly correction1: Value;
  readonly correction2: Value;
}

export interface OptimizerOptions {
  readonly momentum: number;
  readonly weightDecay: number;
}

export type Optimizer = (graph: Graph, parameter: Parameter, gradient: Value, inputs: OptimizerInputs, options: OptimizerOptions) => Update;

function slot(graph: Graph, name: string, parameter: Parameter): { name: string; value: Value } {
  const full = `${name}:${parameter.name}`;
  return { name: full, value: graph.input(full, parameter.value.shape) };
}

/** SGD with momentum and L2 weight decay in the gradient, as torch.optim.SGD. */
const sgd: Optimizer = (graph, parameter, gradient, inputs, options) => {
  const velocity = slot(graph, "velocity", parameter);
  const decayed =
    parameter.decay && options.weightDecay > 0 ? graph.add(gradient, graph.scale(parameter.value, options.weightDecay)) : gradient;
  const nextVelocity = graph.add(graph.scale(velocity.value, options.momentum), decayed);
  const next = graph.subtract(parameter.value, graph.multiply(nextVelocity, inputs.learningRate));
  return { next, slots: [{ ...velocity, next: nextVelocity }] };
};

const beta1 = 0.9;
const beta2 = 0.999;
const adamEpsilon = 1e-8;

/** AdamW: decoupled weight decay, as torch.optim.AdamW. Loshchilov and Hutter 2019, arXiv:1711.05101. */
const adamw: Optimizer = (graph, parameter, gradient, inputs, options) => {
  const first = slot(graph, "moment1", parameter);
  const second = slot(graph, "moment2", parameter);
  const nextFirst = graph.add(graph.scale(first.value, beta1), graph.scale(gradient, 1 - beta1));
  const nextSecond = graph.add(graph.scale(second.value, beta2), graph.scale(graph.multiply(gradient, gradient), 1 - beta2));
  const denominator = graph.add(graph.apply("squareRoot", [graph.multiply(nextSecond, inputs.correction2)], {}), graph.scalar(adamEpsilon));
  const step = graph.divide(graph.multiply(nextFirst, inputs.correction1), denominator);
  const decayed = parameter.decay && options.weightDecay > 0 ? graph.add(step, graph.scale(parameter.value, options.weightDecay)) : step;
  const next = graph.subtract(parameter.value, graph.multiply(decayed, inputs.learningRate));
  return {
    next,
    slots: [
      { ...first, next: nextFirst },
      { ...second, next: nextSecond },
    ],
  };
};

export const OPTIMIZERS: { readonly sgd: Optimizer; readonly adamw: Optimizer } = { sgd, adamw };

/** AdamW's bias corrections after `step` steps, counted from 1. */
export function adamCorrections(step: number): { correction1: number; correction2: number } {
  return { correction1: 1 / (1 - beta1 ** step), correction2: 1 / (1 - beta2 ** step) };
}
