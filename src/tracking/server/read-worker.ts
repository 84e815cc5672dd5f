import { parentPort, workerData } from "node:worker_threads";
import { answerCalls, Moved } from "../../threads/answer-calls.ts";
import type { JobProtocol } from "../../threads/job-thread.ts";
import { answerRead, type Read, type ReadAnswer } from "./reads.ts";
import { openTrackingStore } from "./store/tracking-store.ts";

if (parentPort) {
  const store = openTrackingStore(workerData as string);
  await answerCalls<JobProtocol<Read, ReadAnswer>>(parentPort, () => ({
    call: async (read) => {
      const answer = await answerRead(store, read);
      return new Moved(answer, [answer.body.buffer]);
    },
  }));
}
