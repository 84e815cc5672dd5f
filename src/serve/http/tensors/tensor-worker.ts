import { parentPort } from "node:worker_threads";
import { answerCalls, Moved } from "../../../threads/answer-calls.ts";
import type { JobProtocol } from "../../../threads/job-thread.ts";
import { writeAnswerJson } from "./tensor-answer.ts";
import { readTensorRequest } from "./tensor-request.ts";
import type { TensorJob, TensorResult } from "./tensor-thread.ts";

function work(job: TensorJob): Moved<TensorResult> {
  if (job.kind === "write") {
    const json = writeAnswerJson(job.answer);
    return new Moved({ kind: "written", json }, [json.buffer]);
  }
  const request = readTensorRequest(job.json, job.binaryBytes, job.size);
  return new Moved({ kind: "read", request }, request.images === undefined ? [] : [request.images.buffer]);
}

if (parentPort) await answerCalls<JobProtocol<TensorJob, TensorResult>>(parentPort, () => ({ call: work }));
