import { parentPort } from "node:worker_threads";
import { toServalError } from "../../errors/serval-error.ts";
import { runFileWork, type FileWork } from "./file-work.ts";
import type { FileAnswer } from "./work-pool.ts";

/** The thread behind the work pool: batches of small files, one after the other. */
parentPort?.on("message", (work: FileWork) => {
  let answer: FileAnswer;
  try {
    answer = { kind: "done", results: runFileWork(work) };
  } catch (error) {
    const { code, message } = toServalError(error);
    answer = { kind: "failed", code, message };
  }
  parentPort?.postMessage(answer);
});
