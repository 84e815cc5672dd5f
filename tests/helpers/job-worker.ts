import { parentPort } from "node:worker_threads";
import { ServalError } from "../../src/errors/serval-error.ts";
import { answerCalls } from "../../src/threads/answer-calls.ts";
import type { JobProtocol } from "../../src/threads/job-thread.ts";

/** What the tests ask of a thread. */
export type TestJob =
  | { readonly kind: "double"; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "refuse" }
  | { readonly kind: "hang" }
  | { readonly kind: "fill memory" };

function work(job: TestJob): Uint8Array {
  if (job.kind === "refuse") throw new ServalError("E_TENSOR", "It does not fit.", { hint: "Send another." });
  while (job.kind === "hang");
  const held: number[][] = [];
  while (job.kind === "fill memory") held.push(Array.from({ length: 10_000 }, (_, i) => i + held.length));
  const { bytes } = job as TestJob & { kind: "double" };
  return bytes.map((byte) => 2 * byte);
}

if (parentPort) await answerCalls<JobProtocol<TestJob, Uint8Array>>(parentPort, () => ({ call: work }));
