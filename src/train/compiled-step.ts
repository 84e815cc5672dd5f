import os from "node:os";
import type { Shards } from "../data/shards.ts";
import { ServalError } from "../errors/serval-error.ts";
import { lowerGraph } from "../nn/lower.ts";
import { buildTrainingStep, type StateSpec } from "../nn/training-step.ts";
import { elementCount } from "../onnx/builder.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { Engine, Session, Tensor } from "../runtime/engine.ts";
import type { Batch } from "./batches/batches.ts";
import { Random } from "../random.ts";
import type { TrainConfig } from "./train-job.ts";
import type { TrainedNetwork } from "./train-plan.ts";

/** What a training step is compiled for, besides the configuration. */
export interface StepSetup {
  readonly batchSize: number;
  readonly classes: number;
  /** 0 takes the portable lowering. */
  readonly blockSize: number;
  readonly threads: number;
}

/** Throws E_PARAMS where train.lowering asks for what this machine does not have. */
export async function chooseSetup(engine: Engine, config: TrainConfig, shards: Shards): Promise<StepSetup> {
  const blockSize = config.lowering === "portable" ? 0 : await engine.probeBlockSize();
  if (config.lowering === "blocked" && blockSize === 0)
    throw new ServalError(
      "E_PARAMS",
      `train.lowering: got blocked, which this CPU or this build of ${engine.name} does not have; expected auto or portable.`,
    );
  return {
    batchSize: Math.min(config.batchSize, shards.splits.train.count),
    classes: shards.labels.length,
    blockSize,
    threads: config.threads === 0 ? os.availableParallelism() : config.threads,
  };
}

/** A training step that works on pictures of one size, with the buffers that it reads. */
export interface CompiledStep {
  /** Side of the pictures in pixels. */
  readonly side: number;
  /** True where the backbone is constant. */
  readonly frozen: boolean;
  readonly session: Session;
  /** The tensors that it changes. */
  readonly state: readonly StateSpec[];
  readonly batch: Batch;
  /** Everything that is fed besides the state. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** Feeds the learning rate and whatever else of `scalars` the step asks for. */
  readonly setScalars: (scalars: Readonly<Record<string, number>>) => void;
}

/** Step s (of the whole training) drops features with the seed's stream dropoutStream + s. */
const dropoutStream = 0x2000_0000;

/** Draws which features step `step` drops; kept ones are scaled up, so that their expected sum stays what it is without. */
export function fillDropoutMask({ inputs }: CompiledStep, { dropout, seed }: TrainConfig, step: number): void {
  const mask = inputs["dropoutMask"]?.data;
  const random = new Random(seed, dropoutStream + step);
  if (mask) for (let k = 0; k < mask.length; k++) mask[k] = random.uniform() < dropout ? 0 : 1 / (1 - dropout);
}

/** `frozen` are the weights of a backbone that does not learn. */
export async function compileStep(
  engine: Engine,
  { architecture, learning }: TrainedNetwork,
  config: TrainConfig,
  side: number,
  setup: StepSetup,
  frozen?: Readonly<Record<string, Float32Array>>,
): Promise<CompiledStep> {
  const { batchSize, classes, blockSize, threads } = setup;
  const size = { height: side, width: side };
  const step = buildTrainingStep(architecture, {
    ...config,
    ...learning,
    ...size,
    batchSize,
    classes,
    dropout: config.dropout > 0,
    frozen,
  });
  const model = encodeModel(lowerGraph(step.graph, { blockSize, name: `${architecture.name}-training-step` }));
  const session = await engine.createSession(model, { threads });
  const batch = {
    images: new Uint8Array(batchSize * side ** 2 * 3),
    targets: new Float32Array(batchSize * classes),
    classIndex: new Uint16Array(batchSize),
  };
  const given: Record<string, Tensor["data"]> = { images: batch.images, targets: batch.targets };
  const state = new Set(step.state.map(({ name }) => name));
  const inputs: Record<string, Tensor> = {};
  for (const [name, { dtype, shape }] of step.graph.inputs) {
    if (!state.has(name)) inputs[name] = { dtype, shape, data: given[name] ?? new Float32Array(elementCount(shape)) };
  }
  const setScalars = (scalars: Readonly<Record<string, number>>): void => {
    for (const [name, value] of Object.entries(scalars)) if (inputs[name]) inputs[name].data[0] = value;
  };
  return { side, frozen: frozen !== undefined, session, state: step.state, batch, inputs, setScalars };
}
