import type { Architecture, ArchitectureOptions } from "./architectures/architecture.ts";
import { trainClassifier, type Weights } from "./architectures/layers.ts";
import { differentiate } from "./grad.ts";
import { Graph } from "./graph.ts";
import { Network, type Initial, type NetworkOptions } from "./network.ts";
import type { Value } from "./ops/op-spec.ts";
import { OPTIMIZERS, type OptimizerOptions } from "./optimizers.ts";

export interface TrainingStepOptions extends ArchitectureOptions, OptimizerOptions, NetworkOptions {
  readonly batchSize: number;
  /** Side lengths of the pictures fed, in pixels. */
  readonly height: number;
  readonly width: number;
  readonly optimizer: keyof typeof OPTIMIZERS;
  readonly dropout: boolean;
  /**
   * Weights of a backbone that does not learn: it becomes constants, with its running statistics, as in service, and the
   * step's state is the head alone.
   */
  readonly frozen?: Weights | undefined;
}

/** A tensor that goes round: fed as `name`, returned as `next:name`. */
export interface StateSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly initial: Initial;
  /** Parameters and statistics make the model; slots are the optimizer's memory. */
  readonly role: "parameter" | "statistic" | "slot";
  /** Belongs to the classifier, not to the backbone. */
  readonly head: boolean;
}

export interface TrainingStep {
  readonly graph: Graph;
  readonly state: readonly StateSpec[];
}

export const NEXT = "next:";

/**
 * One training step as a graph: forward, backward and optimizer update. Inputs: `images` uint8 [N,H,W,3], `targets`
 * [N,K] (each row sums to 1), `dropoutMask` [N,C] where dropout is on, `learningRate` [] and, for adamw, `adamScale`,
 * `adamEpsilon` []; and every state tensor. Outputs: `loss` [], `probabilities` [N,K] and every state tensor's next value.
 */
export function buildTrainingStep(architecture: Architecture, options: TrainingStepOptions): TrainingStep {
  const graph = new Graph();
  const network = new Network(graph, options);
  const images = graph.input("images", [options.batchSize, options.height, options.width, 3], { dtype: "uint8" });
  const targets = graph.input("targets", [options.batchSize, options.classes]);
  const pictures = graph.apply("normalizeImages", [images], { mean: architecture.mean, std: architecture.std });
  const { logits } = options.frozen
    ? trainClassifier(network, architecture.infer(graph, pictures, options.frozen, options).features, options, architecture.embed)
    : architecture.train(network, pictures, options);
  const [loss, probabilities] = graph.applyAll("softmaxCrossEntropy", [logits, targets], {}) as [Value, Value];
  const learning = network.parameters.filter(({ rateFactor }) => rateFactor > 0);
  const gradients = differentiate(
    graph,
    loss,
    learning.map((parameter) => parameter.value),
  );
  graph.output("loss", loss);
  graph.output("probabilities", probabilities);

  const learningRate = graph.input("learningRate", []);
  const adam = options.optimizer === "adamw";
  const adamScale = adam ? graph.input("adamScale", []) : learningRate;
  const adamEpsilon = adam ? graph.input("adamEpsilon", []) : learningRate;
  const state: StateSpec[] = [];
  for (const parameter of network.parameters) {
    const gradient = gradients[learning.indexOf(parameter)];
    const spec = { name: parameter.name, shape: parameter.value.shape, initial: parameter.initial, head: parameter.head };
    state.push({ ...spec, role: "parameter" });
    if (!gradient) {
      graph.output(`${NEXT}${parameter.name}`, parameter.value);
      continue;
    }
    const update = OPTIMIZERS[options.optimizer](graph, parameter, gradient, { learningRate, adamScale, adamEpsilon }, options);
    graph.output(`${NEXT}${parameter.name}`, update.next);
    for (const slot of update.slots) {
      graph.output(`${NEXT}${slot.name}`, slot.next);
      state.push({ name: slot.name, shape: slot.value.shape, initial: { constant: 0 }, role: "slot", head: parameter.head });
    }
  }
  for (const statistic of network.statistics) {
    graph.output(`${NEXT}${statistic.name}`, statistic.next);
    state.push({ name: statistic.name, shape: statistic.value.shape, initial: statistic.initial, role: "statistic", head: false });
  }
  return { graph, state };
}
