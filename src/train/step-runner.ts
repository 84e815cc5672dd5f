import type { Engine } from "../runtime/engine.ts";
import { BatchSource } from "./batches/batch-source.ts";
import { compileStep, fillDropoutMask, type CompiledStep, type StepSetup } from "./compiled-step.ts";
import type { TrainConfig } from "./train-job.ts";
import type { TrainedNetwork } from "./train-plan.ts";
import type { TrainingState } from "./training-state.ts";

export interface StepRunnerOptions {
  readonly engine: Engine;
  readonly network: TrainedNetwork;
  readonly config: TrainConfig;
  readonly setup: StepSetup;
  readonly state: TrainingState;
  /** Folder of the prepared shards. */
  readonly shardsDir: string;
  readonly stepsPerEpoch: number;
  /** Side of the pictures in each epoch, in pixels. */
  readonly sizes: readonly number[];
  /** Steps of the whole training that are done already. */
  readonly firstStep: number;
}

export interface StepResult {
  /** Mean over the batch; not finite where the training has diverged. */
  readonly loss: number;
  /** Pictures of the batch whose own class got the highest probability. */
  readonly correct: number;
  /** Time that passed until the batch was there. */
  readonly waitSeconds: number;
}

/**
 * Runs the steps of a training or of a range test, one after the other: takes the next batch, feeds it with the state to the
 * compiled graph, and makes current what the step wrote. It starts a thread that makes batches, which only `close` ends.
 */
export class StepRunner {
  readonly #options: StepRunnerOptions;
  readonly #batches: BatchSource;
  #compiled: CompiledStep | undefined;

  constructor(options: StepRunnerOptions) {
    this.#options = options;
    const { shardsDir, config, setup, stepsPerEpoch, sizes, firstStep } = options;
    const { batchSize, classes } = setup;
    this.#batches = new BatchSource({ shardsDir, config, batchSize, classes, stepsPerEpoch, sizes, firstStep });
  }

  /**
   * Compiles the step for the pictures of epoch `epoch` (from 0); `frozen` leaves the backbone as it is now. A graph has static
   * shapes, so each picture size has its own; and so has a frozen backbone.
   */
  async prepare(epoch: number, frozen: boolean): Promise<void> {
    const { engine, network, config, setup, state, sizes } = this.#options;
    const side = sizes[epoch] as number;
    if (side === this.#compiled?.side && frozen === this.#compiled.frozen) return;
    await this.#compiled?.session.close();
    const backbone = frozen ? state.snapshot("parameter", "statistic") : undefined;
    this.#compiled = await compileStep(engine, network, config, side, setup, backbone);
  }

  /** Runs step `step` (from 0, of the whole training) with these values for the graph's scalar inputs. Wants `prepare` for its epoch. */
  async run(step: number, scalars: Readonly<Record<string, number>>): Promise<StepResult> {
    const { config, state } = this.#options;
    const compiled = this.#compiled as CompiledStep;
    const startedAt = performance.now();
    await this.#batches.next(compiled.batch);
    const waitSeconds = (performance.now() - startedAt) / 1000;
    compiled.setScalars(scalars);
    fillDropoutMask(compiled, config, step);
    const outputs = await compiled.session.run({ ...compiled.inputs, ...state.feeds(compiled.state) }, state.targets(compiled.state));
    state.advance(compiled.state);
    return {
      loss: outputs["loss"]?.data[0] as number,
      correct: countCorrect(outputs["probabilities"]?.data as Float32Array, compiled.batch.classIndex),
      waitSeconds,
    };
  }

  async close(): Promise<void> {
    await this.#batches.close();
    await this.#compiled?.session.close();
  }
}

function countCorrect(probabilities: Float32Array, classIndex: Uint16Array): number {
  const classes = probabilities.length / classIndex.length;
  return classIndex.reduce((count, label, row) => {
    const own = probabilities[row * classes + label] as number;
    for (let k = 0; k < classes; k++) if (k !== label && (probabilities[row * classes + k] as number) >= own) return count;
    return count + 1;
  }, 0);
}
