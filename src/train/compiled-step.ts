import type { Architecture } from "../nn/architectures/architecture.ts";
import { lowerGraph } from "../nn/lower.ts";
import { buildTrainingStep, type StateSpec } from "../nn/training-step.ts";
import { elementCount } from "../onnx/builder.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { Engine, Session, Tensor } from "../runtime/engine.ts";
import type { Batch } from "./batches.ts";
import type { TrainConfig } from "./train-job.ts";

/** What a training step is compiled for, besides the configuration. */
export interface StepSetup {
  readonly batchSize: number;
  readonly classes: number;
  /** 0 takes the portable lowering. */
  readonly blockSize: number;
  readonly threads: number;
}

/** A training step that works on pictures of one size, with the buffers that it reads. */
export interface CompiledStep {
  /** Side of the pictures in pixels. */
  readonly side: number;
  readonly session: Session;
  readonly state: readonly StateSpec[];
  readonly batch: Batch;
  /** Everything that is fed besides the state. */
  readonly inputs: Readonly<Record<string, Tensor>>;
}

export async function compileStep(
  engine: Engine,
  architecture: Architecture,
  config: TrainConfig,
  side: number,
  setup: StepSetup,
): Promise<CompiledStep> {
  const { batchSize, classes, blockSize, threads } = setup;
  const size = { height: side, width: side };
  const step = buildTrainingStep(architecture, { ...config, ...size, batchSize, classes, dropout: config.dropout > 0 });
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
  return { side, session, state: step.state, batch, inputs };
}
