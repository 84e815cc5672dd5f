import { parentPort } from "node:worker_threads";
import { answerJobs } from "../../../threads/job-thread.ts";
import { writeAnswerJson } from "./tensor-answer.ts";
import { readTensorRequest } from "./tensor-request.ts";
import type { TensorJob, TensorResult } from "./tensor-thread.ts";

function work(job: TensorJob): { answer: TensorResult; transfer: readonly ArrayBuffer[] } {
  if (job.kind === "write") {
    const json = writeAnswerJson(job.answer);
    return { answer: { kind: "written", json }, transfer: [json.buffer] };
  }
  const request = readTensorRequest(job.json, job.binaryBytes, job.size);
  return { answer: { kind: "read", request }, transfer: request.images === undefined ? [] : [request.images.buffer] };
}

if (parentPort) answerJobs(parentPort, work);
