import type { Architecture } from "../nn/architectures/architecture.ts";
import { lowerGraph } from "../nn/lower.ts";
import { buildTrainingStep, type StateSpec } from "../nn/training-step.ts";
import { elementCount } from "../onnx/builder.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { Engine, Session, Tensor } from "../runtime/engine.ts";
import { allocateBatch, type Batch } from "./batches.ts";
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
  /** Side in pixels that windows are shrunk to inside the step. */
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
  const window = { height: config.cropSize, width: config.cropSize };
  const step = buildTrainingStep(architecture, { ...config, ...window, side, batchSize, classes, dropout: config.dropout > 0 });
  const model = encodeModel(lowerGraph(step.graph, { blockSize, name: `${architecture.name}-training-step` }));
  const session = await engine.createSession(model, { threads });
  const batch = allocateBatch(classes, { ...config, batchSize });
  const given: Record<string, Tensor["data"]> = { images: batch.images, targets: batch.targets };
  const state = new Set(step.state.map(({ name }) => name));
  const inputs: Record<string, Tensor> = {};
  for (const [name, { dtype, shape }] of step.graph.inputs) {
    if (!state.has(name)) inputs[name] = { dtype, shape, data: given[name] ?? new Float32Array(elementCount(shape)) };
  }
  return { side, session, state: step.state, batch, inputs };
}
