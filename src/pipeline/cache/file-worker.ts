import { parentPort } from "node:worker_threads";
import { answerCalls } from "../../threads/answer-calls.ts";
import { runFileWork } from "./file-work.ts";
import type { FileProtocol } from "./work-pool.ts";

/** The thread behind the work pool: batches of small files, one after the other. */
if (parentPort) await answerCalls<FileProtocol>(parentPort, () => ({ call: runFileWork }));
