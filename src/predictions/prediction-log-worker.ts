import { parentPort, workerData } from "node:worker_threads";
import { answerCalls } from "../threads/answer-calls.ts";
import type { LogProtocol, LogSetup } from "./prediction-log.ts";
import { openPostgres } from "./open-store.ts";
import { PredictionSpool } from "./prediction-spool.ts";
import type { PredictionStore } from "./prediction-store.ts";
import { PredictionWriter } from "./prediction-writer.ts";
import { SqliteStore } from "./sqlite-store.ts";

/** How often what is too much is looked for while nothing is asked, and what waits is tried again. */
const idleMs = 1000;

async function answer(writer: PredictionWriter, call: LogProtocol["call"]): Promise<LogProtocol["answer"]> {
  if (call.kind === "label") return await writer.addFeedback(call.requestId, call.label, call.ofKey, call.atMs);
  await writer.erase(call.requestId, call.ofKey);
  return "erased";
}

/** The thread behind `PredictionLog`: writes to disk, so that nothing else has to wait for one. */
if (parentPort) {
  await answerCalls<LogProtocol>(parentPort, async (tell) => {
    const { path, url, retention } = workerData as LogSetup;
    const open = async (): Promise<PredictionStore> => (url === undefined ? new SqliteStore(path) : await openPostgres(url));
    const spool = url === undefined ? undefined : new PredictionSpool(path);
    const writer = new PredictionWriter({ open, spool, retention, tell });
    await writer.write();
    return {
      call: async (call) => await answer(writer, call),
      note: async (rows) => await writer.add(rows),
      // Between the calls: a call that waits for its answer waits for one small step.
      idle: { everyMs: idleMs, work: async () => await writer.tidy() },
      close: async () => await writer.close(),
    };
  });
}
