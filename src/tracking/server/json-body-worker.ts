import { parentPort } from "node:worker_threads";
import { answerJobs } from "../../threads/job-thread.ts";
import { parseBody } from "./json-body.ts";

if (parentPort) answerJobs(parentPort, (body: Uint8Array) => ({ answer: parseBody(body), transfer: [] }));
