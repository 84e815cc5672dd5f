import { adamScalars } from "../nn/optimizers.ts";
import { warmupCosine } from "../nn/schedules.ts";
import type { TrainJob } from "./train-job.ts";

/**
 * Steps by phase: with initial weights, some epochs in which only the head learns, at the full rate; then the epochs in which
 * everything does, from the warm-up on. An optimizer that has seen no gradient of the backbone starts from scratch there: its
 * moments are zero, so their correction has to count from there as well.
 */
export class TrainingPhases {
  readonly stepsPerEpoch: number;
  readonly warmupSteps: number;
  readonly #frozenSteps: number;
  readonly #learningRate: number;
  readonly #totalSteps: number;

  constructor({ config, init }: Pick<TrainJob, "config" | "init">, stepsPerEpoch: number) {
    this.stepsPerEpoch = stepsPerEpoch;
    this.#frozenSteps = init ? Math.min(config.freezeEpochs, config.epochs) * stepsPerEpoch : 0;
    this.#learningRate = config.learningRate;
    this.#totalSteps = config.epochs * stepsPerEpoch;
    // The rate must have time to fall again.
    this.warmupSteps = Math.min(Math.round(config.warmupEpochs * stepsPerEpoch), Math.floor((this.#totalSteps - this.#frozenSteps) / 2));
  }

  /** Whether step `step` (from 0, of the whole training) leaves the backbone alone. */
  isFrozen(step: number): boolean {
    return step < this.#frozenSteps;
  }

  /** Whether `step` is the first one of a phase. */
  isFirst(step: number): boolean {
    return this.inPhase(step) === 0;
  }

  /** The number of `step` within its phase, from 0. */
  inPhase(step: number): number {
    return this.isFrozen(step) ? step : step - this.#frozenSteps;
  }

  learningRate(step: number): number {
    if (this.isFrozen(step)) return this.#learningRate;
    const schedule = {
      learningRate: this.#learningRate,
      warmupSteps: this.warmupSteps,
      totalSteps: this.#totalSteps - this.#frozenSteps,
    };
    return warmupCosine(this.inPhase(step), schedule);
  }

  /** What changes from step to step and is fed, by the name of the graph's input. */
  scalars(step: number): Readonly<Record<string, number>> {
    return { learningRate: this.learningRate(step), ...adamScalars(this.inPhase(step) + 1) };
  }
}
