import { parentPort, workerData } from "node:worker_threads";
import { openShards } from "../../data/shards.ts";
import { answerCalls } from "../../threads/answer-calls.ts";
import { batchLayout, hasFreeSlot, word, type BatchPlan, type BatchProtocol } from "./batch-source.ts";
import { BatchMaker, epochOrder } from "./batches.ts";

/** Makes the batches of a plan into the shared memory, as its slots become free, until the plan is done or they are not wanted any more. */
async function makeBatches(plan: BatchPlan, memory: SharedArrayBuffer): Promise<void> {
  const { control, slot } = batchLayout(plan, memory);
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
}

if (parentPort) {
  await answerCalls<BatchProtocol>(parentPort, () => ({
    async call(plan) {
      await makeBatches(plan, workerData as SharedArrayBuffer);
      return null;
    },
  }));
}
