import { openShards } from "../data/shards.ts";
import { ServalError } from "../errors/serval-error.ts";
import type { Engine } from "../runtime/engine.ts";
import { chooseSetup } from "./compiled-step.ts";
import { fewestPoints, RangeEnd, rangeRate, rangeSteps, suggestRate, type RatePoint, type RateSuggestion } from "./rate-range.ts";
import { StepRunner } from "./step-runner.ts";
import type { TrainJob } from "./train-job.ts";
import { checkConfig, epochSizes, stateTensors } from "./train-plan.ts";
import { TrainingPhases } from "./training-phases.ts";
import { TrainingState } from "./training-state.ts";

export interface RateSearch extends RateSuggestion {
  readonly points: readonly RatePoint[];
  /** Whether the loss rose so far that the rest of the rates were left out. */
  readonly diverged: boolean;
  readonly batchSize: number;
  /** Side of the pictures, in pixels: that of the first epochs. */
  readonly side: number;
}

export type FindRateJob = Pick<TrainJob, "config" | "init" | "shardsDir">;

export interface FindRateHooks {
  readonly onEvent: (event: { readonly step: number; readonly learningRate: number; readonly loss: number }) => void;
  readonly shouldStop: () => boolean;
}

/**
 * Trains for a few hundred steps while the learning rate rises from next to nothing to absurd, on the batches and with the
 * step that a training would begin with (all of the network learns, also with initial weights). Keeps nothing.
 */
export async function findLearningRate(
  engine: Engine,
  { config, init, shardsDir }: FindRateJob,
  hooks: FindRateHooks,
): Promise<RateSearch> {
  const shards = await openShards(shardsDir);
  try {
    const network = checkConfig({ config }, shards);
    const setup = await chooseSetup(engine, config, shards);
    const [side] = epochSizes(config) as [number];
    const stepsPerEpoch = Math.floor(shards.splits.train.count / setup.batchSize);
    const phases = new TrainingPhases({ config, init: undefined }, stepsPerEpoch);
    const state = new TrainingState(stateTensors(network, config, setup.classes));
    state.initialize(config.seed);
    if (init) state.take(init.weights);
    const sizes = Array.from({ length: Math.ceil(rangeSteps / stepsPerEpoch) }, () => side);
    const runner = new StepRunner({ engine, network, config, setup, state, shardsDir, stepsPerEpoch, sizes, firstStep: 0 });
    const points: RatePoint[] = [];
    const end = new RangeEnd();
    let diverged = false;
    try {
      await runner.prepare(0, false);
      for (let step = 0; step < rangeSteps && !diverged; step++) {
        if (hooks.shouldStop()) throw new ServalError("E_INTERRUPTED", `The range test stopped in step ${step + 1} of ${rangeSteps}.`);
        const learningRate = rangeRate(step);
        const { loss } = await runner.run(step, { ...phases.scalars(step), learningRate });
        diverged = end.follow(loss);
        if (Number.isFinite(loss)) points.push({ learningRate, loss });
        hooks.onEvent({ step: step + 1, learningRate, loss });
      }
    } finally {
      await runner.close();
    }
    // A loss that ends the test so early was never a sane one.
    if (points.length < fewestPoints)
      throw new ServalError(
        "E_TRAIN_DIVERGED",
        `The loss is not a number, or rose, within ${points.length + 1} steps at rates near zero.`,
        {
          hint: "Something other than the learning rate is wrong: look at the images, and at the model that train.init names.",
        },
      );
    return { points, ...suggestRate(points), diverged, batchSize: setup.batchSize, side };
  } finally {
    shards.close();
  }
}
