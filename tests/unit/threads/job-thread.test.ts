import { expect, onTestFinished, test } from "vitest";
import { JobThread } from "../../../src/threads/job-thread.ts";
import type { TestJob } from "../../helpers/job-worker.ts";

function startJobs(options: { deadlineMs?: number; waitingLimit?: number } = {}): JobThread<TestJob, Uint8Array> {
  const jobs = new JobThread<TestJob, Uint8Array>({
    file: new URL("../../helpers/job-worker.ts", import.meta.url),
    name: "test-jobs",
    deadlineMs: 20_000,
    waitingLimit: 2,
    heapMb: 16,
    ...options,
  });
  onTestFinished(() => jobs.close());
  return jobs;
}

const double = (value: number): TestJob => ({ kind: "double", bytes: Uint8Array.of(value) });

test("jobs are answered one after the other, and what is transferred moves", async () => {
  const jobs = startJobs();
  const bytes = new Uint8Array([1, 2, 3]);
  const first = jobs.run({ kind: "double", bytes }, { transfer: [bytes.buffer] });
  const second = jobs.run(double(5));
  expect([...(await first)]).toEqual([2, 4, 6]);
  expect([...(await second)]).toEqual([10]);
  expect(bytes.byteLength).toBe(0);
});

test("an error of the thread arrives with its code, message and hint, and the next job is answered", async () => {
  const jobs = startJobs();
  await expect(jobs.run({ kind: "refuse" })).rejects.toMatchObject({
    code: "E_TENSOR",
    message: "It does not fit.",
    hint: "Send another.",
  });
  expect([...(await jobs.run(double(4)))]).toEqual([8]);
});

test("a job that does not end is given up at the deadline, and the waiting one gets another thread", async () => {
  const jobs = startJobs({ deadlineMs: 1000 });
  const hanging = jobs.run({ kind: "hang" });
  const waiting = jobs.run(double(4));
  await expect(hanging).rejects.toMatchObject({ code: "E_JOB_STOPPED", message: "It took longer than 1000 ms." });
  expect([...(await waiting)]).toEqual([8]);
});

test("a job that fills its thread's memory ends the thread and nothing else", async () => {
  const jobs = startJobs();
  await expect(jobs.run({ kind: "fill memory" })).rejects.toMatchObject({ code: "E_JOB_STOPPED", message: "Its thread ended." });
  expect([...(await jobs.run(double(4)))]).toEqual([8]);
});

test("more jobs than may wait are refused at once; one whose client is gone makes room", async () => {
  const jobs = startJobs();
  const gone = new AbortController();
  const running = jobs.run({ kind: "hang" });
  const waiting = [jobs.run(double(1)), jobs.run(double(2), { signal: gone.signal })];
  await expect(jobs.run(double(3))).rejects.toMatchObject({ code: "E_QUEUE_FULL" });
  gone.abort(new Error("gone"));
  await expect(waiting[1]).rejects.toThrow("gone");
  const third = jobs.run(double(3));
  jobs.close();
  for (const job of [running, waiting[0], third]) await expect(job).rejects.toMatchObject({ code: "E_JOB_STOPPED" });
});
