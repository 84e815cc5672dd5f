import { parentPort, workerData } from "node:worker_threads";
import { answerJobs } from "../../threads/job-thread.ts";
import { answerRead, type Read } from "./reads.ts";
import { openTrackingStore } from "./store/tracking-store.ts";

if (parentPort) {
  const store = openTrackingStore(workerData as string);
  answerJobs(parentPort, async (read: Read) => {
    const answer = await answerRead(store, read);
    return { answer, transfer: [answer.body.buffer] };
  });
}
