import { parentPort } from "node:worker_threads";
import { answerCalls } from "../../threads/answer-calls.ts";
import type { JobProtocol } from "../../threads/job-thread.ts";
import { parseBody } from "./json-body.ts";

if (parentPort) await answerCalls<JobProtocol<Uint8Array, object>>(parentPort, () => ({ call: parseBody }));
