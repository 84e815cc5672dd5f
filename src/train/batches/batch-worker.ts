import { parentPort, workerData } from "node:worker_threads";
import { openShards } from "../../data/shards.ts";
import { toServalError } from "../../errors/serval-error.ts";
import { batchLayout, hasFreeSlot, word, type BatchFailure, type BatchThreadData } from "./batch-source.ts";
import { BatchMaker, epochOrder } from "./batches.ts";

const { plan, shared } = workerData as BatchThreadData;
const { control, slot } = batchLayout(plan, shared);
try {
  const shards = await openShards(plan.shardsDir);
  const { config, stepsPerEpoch, sizes, batchSize } = plan;
  const steps = sizes.length * stepsPerEpoch;
  let epoch = -1;
  let order: Uint32Array = new Uint32Array();
  let maker: BatchMaker | undefined;
  for (let step = plan.firstStep; step < steps && Atomics.load(control, word.stopped) === 0; step++) {
    const side = sizes[Math.floor(step / stepsPerEpoch)] as number;
    if (Math.floor(step / stepsPerEpoch) !== epoch) {
      epoch = Math.floor(step / stepsPerEpoch);
      order = epochOrder(config.seed, epoch, shards.splits.train.count);
      maker = new BatchMaker(shards, config.seed, side, config);
    }
    for (;;) {
      const taken = Atomics.load(control, word.taken);
      if (hasFreeSlot(control) || Atomics.load(control, word.stopped) === 1) break;
      Atomics.wait(control, word.taken, taken);
    }
    if (Atomics.load(control, word.stopped) === 1) break;
    maker?.make(slot(step - plan.firstStep, side), order, (step % stepsPerEpoch) * batchSize, step);
    Atomics.add(control, word.made, 1);
    Atomics.notify(control, word.made);
  }
  shards.close();
} catch (error) {
  const { code, message, hint } = toServalError(error);
  parentPort?.postMessage({ code, message, hint } satisfies BatchFailure);
}
