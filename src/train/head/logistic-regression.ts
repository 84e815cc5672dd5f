import { setImmediate } from "node:timers/promises";
import { differentiate } from "../../nn/grad.ts";
import { Graph } from "../../nn/graph.ts";
import { lowerGraph } from "../../nn/lower.ts";
import type { Value } from "../../nn/ops/op-spec.ts";
import { encodeModel } from "../../onnx/encode.ts";
import type { Engine, Session, Tensor } from "../../runtime/engine.ts";
import type { Features } from "./features.ts";
import { minimize, type Evaluation, type Minimum } from "./minimize.ts";

/** A linear classifier: logits = x weight^T + bias. */
export interface LinearClassifier {
  /** [classes, width] */
  readonly weight: Float64Array;
  /** [classes] */
  readonly bias: Float64Array;
}

export interface FittedClassifier extends LinearClassifier {
  /** Mean cross-entropy of the training rows in nats, without the penalty. */
  readonly loss: number;
  readonly iterations: number;
  readonly converged: boolean;
}

/** Below these, accuracy and loss no longer change in any digit that is shown. */
const stop = { maxIterations: 300, gradientTolerance: 1e-5, valueTolerance: 1e-7 };

/**
 * Multinomial logistic regression on rows that stay the same, for penalties that change: the loss and its gradient are one graph, which
 * the engine runs at every step of the search. Close it after use.
 */
export class LogisticRegression {
  readonly #session: Session;
  readonly #features: Features;
  readonly #classes: number;
  readonly #targets: Float32Array;

  private constructor(session: Session, features: Features, classes: number, targets: Float32Array) {
    this.#session = session;
    this.#features = features;
    this.#classes = classes;
    this.#targets = targets;
  }

  /** `truth` has the class of each row, from 0 to classes - 1. */
  static async open(
    engine: Engine,
    features: Features,
    truth: ArrayLike<number>,
    classes: number,
    threads: number,
  ): Promise<LogisticRegression> {
    const targets = new Float32Array(features.rows * classes);
    for (let row = 0; row < features.rows; row++) targets[row * classes + (truth[row] as number)] = 1;
    const model = encodeModel(lowerGraph(buildGraph(features, classes), { blockSize: 0, name: "logistic-regression" }));
    return new LogisticRegression(await engine.createSession(model, { threads }), features, classes, targets);
  }

  /**
   * The classifier that minimises the mean cross-entropy plus `penalty` / 2 times the sum of the squared weights (not of the biases).
   * `start` is where the search begins; default: all zeros.
   */
  async fit(penalty: number, start?: LinearClassifier): Promise<FittedClassifier> {
    const weights = this.#classes * this.#features.width;
    const point = new Float64Array(weights + this.#classes);
    if (start) {
      point.set(start.weight);
      point.set(start.bias, weights);
    }
    const found = await minimize(async (at) => await this.#evaluate(at, penalty), point, stop);
    return this.#split(found, penalty);
  }

  async close(): Promise<void> {
    await this.#session.close();
  }

  #split({ point, value, iterations, converged }: Minimum, penalty: number): FittedClassifier {
    const weights = this.#classes * this.#features.width;
    const [weight, bias] = [point.slice(0, weights), point.slice(weights)];
    return { weight, bias, loss: value - (penalty / 2) * sumOfSquares(weight), iterations, converged };
  }

  async #evaluate(point: Float64Array, penalty: number): Promise<Evaluation> {
    const { rows, width, values } = this.#features;
    const weights = this.#classes * width;
    // A run of the engine does not give way: without this no signal would be heard before the end of the search.
    await setImmediate();
    const { loss, ...gradients } = await this.#session.run({
      x: { dtype: "float32", shape: [rows, width], data: values },
      target: { dtype: "float32", shape: [rows, this.#classes], data: this.#targets },
      weight: { dtype: "float32", shape: [this.#classes, width], data: Float32Array.from(point.subarray(0, weights)) },
      bias: { dtype: "float32", shape: [this.#classes], data: Float32Array.from(point.subarray(weights)) },
    });
    const gradient = new Float64Array(point.length);
    gradient.set(gradients["grad:weight"]?.data as Float32Array);
    gradient.set(gradients["grad:bias"]?.data as Float32Array, weights);
    for (let k = 0; k < weights; k++) gradient[k] = (gradient[k] as number) + penalty * (point[k] as number);
    return { value: ((loss as Tensor).data[0] as number) + (penalty / 2) * sumOfSquares(point.subarray(0, weights)), gradient };
  }
}

/** x [rows, width], target [rows, classes], weight [classes, width], bias [classes] -> loss [] and its gradients. */
function buildGraph({ rows, width }: Features, classes: number): Graph {
  const graph = new Graph();
  const x = graph.input("x", [rows, width]);
  const target = graph.input("target", [rows, classes]);
  const weight = graph.input("weight", [classes, width], { parameter: true });
  const bias = graph.input("bias", [classes], { parameter: true });
  const logits = graph.add(graph.apply("matmul", [x, weight], { transposeB: true }), bias);
  const [loss] = graph.applyAll("softmaxCrossEntropy", [logits, target], {}) as [Value, Value];
  const [dWeight, dBias] = differentiate(graph, loss, [weight, bias]) as [Value, Value];
  graph.output("loss", loss);
  graph.output("grad:weight", dWeight);
  graph.output("grad:bias", dBias);
  return graph;
}

/** Logits [rows, classes]. */
export function classify({ rows, width, values }: Features, { weight, bias }: LinearClassifier): Float32Array {
  const classes = bias.length;
  const logits = new Float32Array(rows * classes);
  for (let row = 0; row < rows; row++) {
    for (let c = 0; c < classes; c++) {
      let sum = bias[c] as number;
      for (let k = 0; k < width; k++) sum += (values[row * width + k] as number) * (weight[c * width + k] as number);
      logits[row * classes + c] = sum;
    }
  }
  return logits;
}

function sumOfSquares(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value * value, 0);
}
