import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { expect, onTestFinished, test } from "vitest";
import { PredictionLog } from "../../../src/predictions/prediction-log.ts";
import { loggedPrediction as prediction } from "../../helpers/logged-prediction.ts";

test("a log whose thread has died refuses labels while there is none, and stores what was predicted meanwhile", async () => {
  const workers: Worker[] = [];
  const remember = (worker: Worker): void => void workers.push(worker);
  process.on("worker", remember);
  const dir = await mkdtemp(join(tmpdir(), "serval-log-"));
  const troubles: string[] = [];
  const path = join(dir, "predictions.db");
  const log = new PredictionLog(path, { onTrouble: (message) => void troubles.push(message) });
  onTestFinished(async () => {
    process.off("worker", remember);
    await log.close();
    await rm(dir, { recursive: true });
  });
  log.add(prediction("before"));
  expect(await log.addFeedback("before", "red", null)).toBe("new");
  expect(await log.addFeedback("before", "red", null)).toBe("same");

  await workers[0]!.terminate();
  expect(troubles).toEqual([`Predictions cannot be stored in ${path}: the thread that stores them ended with code 1.`]);
  await expect(log.addFeedback("before", "red", null)).rejects.toMatchObject({
    code: "E_PREDICTION_LOG",
    message: "The thread that stores predictions has stopped; it is started again.",
  });
  log.add(prediction("meanwhile"));
  const feedback = async (): Promise<string> =>
    await log.addFeedback("meanwhile", "blue", null).catch((error: { code: string }) => error.code);
  await expect.poll(feedback).toBe("new");
  expect(workers).toHaveLength(2);

  await log.close();
  await expect(log.addFeedback("before", "red", null)).rejects.toMatchObject({
    code: "E_PREDICTION_LOG",
    message: "The service is stopping, and stores nothing more.",
  });
});
