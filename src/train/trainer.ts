import { join } from "node:path";
import { recipeOf } from "../data/shard-index.ts";
import { openShards, type Shards } from "../data/shards.ts";
import { ServalError } from "../errors/serval-error.ts";
import { isBetterEpoch, type EpochFigures } from "../evaluate/best-epoch.ts";
import type { Metrics } from "../evaluate/metrics.ts";
import { sha256 } from "../files.ts";
import { elementCount } from "../onnx/builder.ts";
import type { Engine } from "../runtime/engine.ts";
import { latestCheckpoint, writeCheckpoint, type Position } from "./checkpoint.ts";
import { chooseSetup, type StepSetup } from "./compiled-step.ts";
import { DivergenceWatch } from "./divergence.ts";
import { MovingAverage } from "./moving-average.ts";
import { openResults, type ResultsLog } from "./results.ts";
import { StepRunner } from "./step-runner.ts";
import type { TrainEvent, TrainJob, TrainOutcome } from "./train-job.ts";
import { checkConfig, epochSizes, stateTensors, type TrainedNetwork } from "./train-plan.ts";
import { TrainingPhases } from "./training-phases.ts";
import { TrainingState } from "./training-state.ts";
import { validate } from "./validate.ts";
import { averageWeights, type WeightAverage } from "./weight-average.ts";

export interface TrainHooks {
  readonly onEvent: (event: TrainEvent) => void;
  /** Asked after every step; true stops with a checkpoint and E_INTERRUPTED. */
  readonly shouldStop: () => boolean;
}

/**
 * Trains in this thread, which every step blocks: call it in a worker. The same job with the same seed, machine, thread
 * count and lowering gives the same weights bit for bit, also when it was killed and resumed on the way.
 */
export async function runTraining(engine: Engine, job: TrainJob, hooks: TrainHooks): Promise<TrainOutcome> {
  const shards = await openShards(job.shardsDir);
  let trainer: Trainer | undefined;
  try {
    trainer = await Trainer.open(engine, job, shards, hooks);
    return await trainer.run();
  } finally {
    await trainer?.close();
    shards.close();
  }
}

class Trainer {
  readonly #job: TrainJob;
  readonly #engine: Engine;
  readonly #shards: Shards;
  readonly #hooks: TrainHooks;
  readonly #network: TrainedNetwork;
  readonly #setup: StepSetup;
  /** Side of the pictures in each epoch. */
  readonly #sizes: readonly number[];
  readonly #fingerprint: string;
  readonly #checkpointDir: string;
  readonly #state: TrainingState;
  readonly #phases: TrainingPhases;
  #watch: DivergenceWatch;
  #average: MovingAverage | undefined;
  #results!: ResultsLog;
  #runner!: StepRunner;
  #epoch = 0;
  #step = 0;
  /** Steps that the latest checkpoint holds. */
  #savedSteps = 0;
  #lossSum = 0;
  #correct = 0;
  #seconds = 0;
  #epochSeconds = 0;
  #waitSeconds = 0;
  #sessionSeconds = 0;
  #sessionImages = 0;
  #best: EpochFigures | null = null;
  #bestWeights: Record<string, Float32Array> = {};

  static async open(engine: Engine, job: TrainJob, shards: Shards, hooks: TrainHooks): Promise<Trainer> {
    const { config } = job;
    const network = checkConfig(job, shards);
    const setup = await chooseSetup(engine, config, shards);
    const sizes = epochSizes(config);
    const trainer = new Trainer(engine, job, shards, hooks, network, setup, sizes);
    await trainer.#begin();
    return trainer;
  }

  private constructor(
    engine: Engine,
    job: TrainJob,
    shards: Shards,
    hooks: TrainHooks,
    network: TrainedNetwork,
    setup: StepSetup,
    sizes: readonly number[],
  ) {
    this.#engine = engine;
    this.#job = job;
    this.#shards = shards;
    this.#hooks = hooks;
    this.#network = network;
    this.#setup = setup;
    this.#sizes = sizes;
    this.#phases = new TrainingPhases(job, Math.floor(shards.splits.train.count / setup.batchSize));
    this.#state = new TrainingState(stateTensors(network, job.config, setup.classes));
    this.#watch = this.#newWatch();
    this.#fingerprint = sha256(JSON.stringify([job.config, job.init?.digest ?? null, shards.dataVersion, shards.labels, recipeOf(shards)]));
    this.#checkpointDir = join(job.runDir, "checkpoints");
  }

  get #stepsPerEpoch(): number {
    return this.#phases.stepsPerEpoch;
  }

  get #stepsDone(): number {
    return this.#epoch * this.#stepsPerEpoch + this.#step;
  }

  #newWatch(): DivergenceWatch {
    const { stepsPerEpoch, warmupSteps } = this.#phases;
    return new DivergenceWatch({ classes: this.#setup.classes, stepsPerEpoch, warmupSteps });
  }

  /** Fresh weights, or everything that the latest checkpoint holds. */
  async #begin(): Promise<void> {
    const { job, config } = { job: this.#job, config: this.#job.config };
    const note = (text: string): void => this.#hooks.onEvent({ type: "note", text });
    const checkpoint = job.resume
      ? await latestCheckpoint(this.#checkpointDir, (error) => note(`${error.code}: ${error.message} Using the previous one.`))
      : undefined;
    if (job.resume && !checkpoint) note("This run has no checkpoint yet; it begins at the first step.");
    if (checkpoint) {
      if (checkpoint.fingerprint !== this.#fingerprint)
        throw new ServalError(
          "E_RESUME_MISMATCH",
          `The parameters or the data do not match those that the run ${job.runDir} started with.`,
        );
      this.#state.restore(checkpoint.state);
      const { position } = checkpoint;
      this.#epoch = position.epoch;
      this.#step = position.step;
      this.#lossSum = position.lossSum;
      this.#correct = position.correct;
      this.#seconds = position.seconds;
      this.#epochSeconds = position.epochSeconds;
      this.#best = position.best;
      this.#bestWeights = { ...checkpoint.best };
      this.#savedSteps = this.#stepsDone;
    } else {
      this.#state.initialize(config.seed);
      if (job.init) this.#state.take(job.init.weights);
    }
    if (config.emaDecay > 0) {
      this.#average = new MovingAverage(config.emaDecay, this.#stepsPerEpoch, this.#state.snapshot("parameter", "statistic"));
      if (checkpoint) this.#average.restore(checkpoint.state);
    }
    this.#results = await openResults(job.runDir, this.#epoch);
    // Last, because it starts a thread that only close() ends.
    this.#runner = new StepRunner({
      engine: this.#engine,
      network: this.#network,
      config,
      setup: this.#setup,
      state: this.#state,
      shardsDir: job.shardsDir,
      stepsPerEpoch: this.#stepsPerEpoch,
      sizes: this.#sizes,
      firstStep: this.#stepsDone,
    });
    this.#hooks.onEvent({
      type: "start",
      steps: this.#stepsPerEpoch * config.epochs,
      stepsDone: this.#stepsDone,
      epochs: config.epochs,
      lowering: this.#setup.blockSize > 0 ? `blocked (${this.#setup.blockSize} channels)` : "portable",
      threads: this.#setup.threads,
      parameters: this.#state.specs.filter(({ role }) => role === "parameter").reduce((sum, { shape }) => sum + elementCount(shape), 0),
    });
  }

  async run(): Promise<TrainOutcome> {
    const { config } = this.#job;
    let savedAt = performance.now();
    while (this.#epoch < config.epochs && !this.#patienceIsOver()) {
      if (this.#phases.isFirst(this.#stepsDone)) {
        this.#state.clearSlots();
        this.#watch = this.#newWatch();
      }
      await this.#runner.prepare(this.#epoch, this.#phases.isFrozen(this.#stepsDone));
      while (this.#step < this.#stepsPerEpoch) {
        await this.#trainStep();
        const { checkpointEverySteps, checkpointEverySeconds } = this.#job;
        const due =
          performance.now() - savedAt > checkpointEverySeconds * 1000 ||
          (checkpointEverySteps > 0 && this.#stepsDone % checkpointEverySteps === 0);
        if (due) {
          await this.#saveGood();
          savedAt = performance.now();
        }
        if (this.#hooks.shouldStop()) {
          await this.#save();
          throw new ServalError(
            "E_INTERRUPTED",
            `Training stopped in epoch ${this.#epoch + 1} of ${config.epochs}, after step ${this.#stepsDone}. ${this.#savedUntil()}`,
          );
        }
      }
      await this.#endEpoch();
      await this.#saveGood();
      savedAt = performance.now();
    }
    const average = await this.#averageWithStart();
    return {
      best: average?.weights ?? this.#bestWeights,
      averages: average?.averages,
      final: this.#weights(),
      bestEpoch: this.#best?.epoch ?? this.#epoch,
      epochs: this.#epoch,
      seconds: this.#seconds,
      imagesPerSecond: this.#sessionImages / Math.max(this.#sessionSeconds, 1e-9),
      stepSeconds: this.#sessionSeconds,
      waitShare: this.#waitSeconds / Math.max(this.#sessionSeconds, 1e-9),
      lowering: this.#setup.blockSize > 0 ? "blocked" : "portable",
      blockSize: this.#setup.blockSize,
      threads: this.#setup.threads,
    };
  }

  async close(): Promise<void> {
    await this.#runner.close();
  }

  /** Counts from the best epoch, but not while pictures still grow or the backbone is frozen: validation may wait for that. */
  #patienceIsOver(): boolean {
    const { patience, freezeEpochs } = this.#job.config;
    if (patience === 0 || this.#best === null) return false;
    const lastSize = this.#sizes.findLastIndex((side) => side !== this.#sizes.at(-1)) + 1;
    const from = Math.max(this.#best.epoch, lastSize, this.#job.init ? freezeEpochs : 0);
    return this.#epoch - from >= patience;
  }

  /** What is validated and exported. */
  #weights(): Record<string, Float32Array> {
    return this.#average?.snapshot() ?? this.#state.snapshot("parameter", "statistic");
  }

  async #trainStep(): Promise<void> {
    const startedAt = performance.now();
    const { loss, correct, waitSeconds } = await this.#runner.run(this.#stepsDone, this.#phases.scalars(this.#stepsDone));
    this.#average?.follow(this.#state.feeds(), this.#stepsDone + 1);
    if (!Number.isFinite(loss)) throw this.#diverged(`The loss became ${loss}`);
    if (this.#watch.follow(loss, this.#phases.inPhase(this.#stepsDone))) {
      const { smoothed, limit } = this.#watch;
      const guess = Math.log(this.#setup.classes);
      throw this.#diverged(
        `The loss stays at ${smoothed.toPrecision(3)}, above ${limit.toPrecision(3)}, where guessing would give ${guess.toPrecision(3)},`,
      );
    }
    this.#lossSum += loss;
    this.#correct += correct;
    this.#step++;
    const seconds = (performance.now() - startedAt) / 1000;
    this.#seconds += seconds;
    this.#epochSeconds += seconds;
    this.#sessionSeconds += seconds;
    this.#sessionImages += this.#setup.batchSize;
    this.#waitSeconds += waitSeconds;
    this.#hooks.onEvent({
      type: "step",
      stepsDone: this.#stepsDone,
      epoch: this.#epoch + 1,
      loss: this.#lossSum / this.#step,
      accuracy: this.#correct / (this.#step * this.#setup.batchSize),
      imagesPerSecond: this.#sessionImages / this.#sessionSeconds,
      stepLoss: loss,
      stepImagesPerSecond: this.#setup.batchSize / seconds,
    });
  }

  #diverged(what: string): ServalError {
    const where = `in epoch ${this.#epoch + 1}, step ${this.#step + 1}, at a learning rate of ${this.#phases.learningRate(this.#stepsDone).toPrecision(3)}`;
    // A range test cannot help here: fine-tuning begins where the loss is low.
    const hint = this.#job.backbone && { hint: "Start a new run with a lower train.learningRate; a third of it is a good first try." };
    return new ServalError("E_TRAIN_DIVERGED", `${what} ${where}. ${this.#savedUntil()}`, hint);
  }

  #savedUntil(): string {
    return this.#savedSteps > 0 ? `The last good checkpoint is that of step ${this.#savedSteps}.` : "There is no good checkpoint yet.";
  }

  async #endEpoch(): Promise<void> {
    const weights = this.#weights();
    const validatedFrom = performance.now();
    const metrics = await this.#validate(weights);
    this.#seconds += (performance.now() - validatedFrom) / 1000;
    const figures = { epoch: this.#epoch + 1, valAccuracy: metrics.accuracy, valLoss: metrics.loss, valF1: metrics.macroF1 };
    const best = this.#best === null || isBetterEpoch(figures, this.#best, this.#job.config.select);
    if (best) {
      this.#best = figures;
      this.#bestWeights = weights;
    }
    const images = this.#step * this.#setup.batchSize;
    const result = {
      epoch: this.#epoch + 1,
      timeSeconds: this.#seconds,
      imagesPerSecond: images / this.#epochSeconds,
      learningRate: this.#phases.learningRate(this.#stepsDone - 1),
      trainLoss: this.#lossSum / this.#step,
      trainAccuracy: this.#correct / images,
      valLoss: metrics.loss,
      valAccuracy: metrics.accuracy,
      valPrecision: metrics.macroPrecision,
      valRecall: metrics.macroRecall,
      valF1: metrics.macroF1,
    };
    await this.#results.append(result);
    this.#epoch++;
    this.#step = 0;
    this.#lossSum = 0;
    this.#correct = 0;
    this.#epochSeconds = 0;
    this.#hooks.onEvent({ type: "epoch", result, best });
  }

  async #validate(weights: Readonly<Record<string, Float32Array>>): Promise<Metrics> {
    const metrics = await validate({
      engine: this.#engine,
      architecture: this.#network.architecture,
      config: this.#job.config,
      shards: this.#shards,
      weights,
      threads: this.#setup.threads,
    });
    if (!metrics) throw this.#diverged("The answers to validation pictures became NaN");
    return metrics;
  }

  /** What is exported of a fine-tuning: it forgets less of what the backbone knew than its best epoch. */
  async #averageWithStart(): Promise<WeightAverage | undefined> {
    const { backbone, init, config } = this.#job;
    if (!backbone || !init) return undefined;
    return await averageWeights({
      start: init.weights,
      tuned: this.#bestWeights,
      select: config.select,
      validate: async (weights) => await this.#validate(weights),
      onTried: (tried) => {
        this.#hooks.onEvent({ type: "average", tried });
        if (this.#hooks.shouldStop())
          throw new ServalError("E_INTERRUPTED", `Training stopped while it averaged weights, after its last epoch. ${this.#savedUntil()}`);
      },
    });
  }

  /** Never overwrites a good checkpoint with weights that are diverging. */
  async #saveGood(): Promise<void> {
    if (!this.#watch.isHigh) await this.#save();
  }

  async #save(): Promise<void> {
    if (!this.#state.isFinite()) return;
    const position: Position = {
      epoch: this.#epoch,
      step: this.#step,
      lossSum: this.#lossSum,
      correct: this.#correct,
      seconds: this.#seconds,
      epochSeconds: this.#epochSeconds,
      best: this.#best,
    };
    const state = { ...this.#state.snapshot("parameter", "statistic", "slot"), ...this.#average?.tensors() };
    await writeCheckpoint(this.#checkpointDir, this.#stepsDone, {
      fingerprint: this.#fingerprint,
      position,
      state,
      best: this.#bestWeights,
    });
    this.#savedSteps = this.#stepsDone;
  }
}
