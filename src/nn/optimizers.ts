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
  /** See `adamScalars`. */
  readonly adamScale: Value;
  readonly adamEpsilon: Value;
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

/** The learning rate of one parameter. */
function rateOf(graph: Graph, { rateFactor }: Parameter, { learningRate }: OptimizerInputs): Value {
  return rateFactor === 1 ? learningRate : graph.scale(learningRate, rateFactor);
}

/** SGD with momentum and L2 weight decay in the gradient, as torch.optim.SGD. */
const sgd: Optimizer = (graph, parameter, gradient, inputs, options) => {
  const velocity = slot(graph, "velocity", parameter);
  const decayed =
    parameter.decay && options.weightDecay > 0 ? graph.add(gradient, graph.scale(parameter.value, options.weightDecay)) : gradient;
  const nextVelocity = graph.add(graph.scale(velocity.value, options.momentum), decayed);
  const next = graph.subtract(parameter.value, graph.multiply(nextVelocity, rateOf(graph, parameter, inputs)));
  return { next, slots: [{ ...velocity, next: nextVelocity }] };
};

const beta1 = 0.9;
const beta2 = 0.999;
const epsilon = 1e-8;

/**
 * AdamW: decoupled weight decay, as torch.optim.AdamW. Loshchilov and Hutter 2019, arXiv:1711.05101. Its memory are decaying sums
 * instead of means, m / (1 - beta1) and v / (1 - beta2): the constants, and the corrections of the mean, then are scalars of the
 * step (`adamScalars`), and a parameter's update is eleven passes over its numbers instead of sixteen.
 */
const adamw: Optimizer = (graph, parameter, gradient, inputs, options) => {
  const { adamScale, adamEpsilon } = inputs;
  const learningRate = rateOf(graph, parameter, inputs);
  const first = slot(graph, "sum1", parameter);
  const second = slot(graph, "sum2", parameter);
  const nextFirst = graph.add(graph.scale(first.value, beta1), gradient);
  const nextSecond = graph.add(graph.scale(second.value, beta2), graph.multiply(gradient, gradient));
  const direction = graph.divide(nextFirst, graph.add(graph.apply("squareRoot", [nextSecond], {}), adamEpsilon));
  const step = graph.multiply(direction, graph.multiply(learningRate, adamScale));
  const kept = graph.subtract(graph.scalar(1), graph.scale(learningRate, options.weightDecay));
  const decayed = parameter.decay && options.weightDecay > 0 ? graph.multiply(parameter.value, kept) : parameter.value;
  const next = graph.subtract(decayed, step);
  return {
    next,
    slots: [
      { ...first, next: nextFirst },
      { ...second, next: nextSecond },
    ],
  };
};

export const OPTIMIZERS: { readonly sgd: Optimizer; readonly adamw: Optimizer } = { sgd, adamw };

/** What AdamW is fed in step `step`, counted from 1: with them its sums give m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon). */
export function adamScalars(step: number): { adamScale: number; adamEpsilon: number } {
  const root = Math.sqrt((1 - beta2 ** step) / (1 - beta2));
  return { adamScale: (root * (1 - beta1)) / (1 - beta1 ** step), adamEpsilon: epsilon * root };
}
