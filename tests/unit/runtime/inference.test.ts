import { once } from "node:events";
import type { Worker } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { startInference, type Inference, type InferenceOptions } from "../../../src/runtime/inference.ts";
import { tinyModel, type TinyOptions } from "../../helpers/tiny-bundle.ts";

const open: Inference[] = [];
const workers: Worker[] = [];
const remember = (worker: Worker): void => void workers.push(worker);

async function start(options: TinyOptions = {}, more: Partial<InferenceOptions> = {}): Promise<Inference> {
  process.on("worker", remember);
  const inference = await startInference(tinyModel({ preprocess: { crop: { width: 2, height: 2 } }, ...options }), {
    imageShape: [2, 2],
    threads: 1,
    ...more,
  });
  open.push(inference);
  return inference;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map(async (inference) => await inference.close()));
  process.off("worker", remember);
  workers.length = 0;
});

/** Four pixels of one colour. */
const picture = (r: number, g: number, b: number): number[] => [r, g, b, r, g, b, r, g, b, r, g, b];

async function refusal(work: Promise<unknown>): Promise<ServalError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ServalError);
  return error as ServalError;
}

describe("run", () => {
  it("gives the logits and probabilities that the weights ask for, for each picture of a batch", async () => {
    const inference = await start({ sharpness: 2 });
    const result = await inference.run(Uint8Array.from([...picture(255, 0, 0), ...picture(0, 0, 127.5), ...picture(0, 0, 0)]), 3);
    const expected = [0, 2, 2 * (127 / 255), 0, 0, 0];
    expect([...result.logits].map((x) => Number(x.toFixed(5)))).toEqual(expected.map((x) => Number(x.toFixed(5))));
    expect(result.probabilities[1]).toBeCloseTo(1 / (1 + Math.exp(-2)), 6);
    expect(result.probabilities[4]).toBeCloseTo(0.5, 6);
    expect(result.durationMs).toBeGreaterThan(0);
  });

  it("fetches the features only when they are asked for", async () => {
    const inference = await start();
    const bytes = Uint8Array.from(picture(255, 0, 0));
    expect("features" in (await inference.run(bytes, 1))).toBe(false);
    const { features } = await inference.run(bytes, 1, { features: true });
    expect([...features!]).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
  });

  it("answers each of many calls at once with its own result, in order", async () => {
    const inference = await start();
    const finished: number[] = [];
    const answers = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const { logits } = await inference.run(Uint8Array.from(picture(i * 2, 0, 0)), 1);
        finished.push(i);
        return logits[1]!;
      }),
    );
    for (const [i, logit] of answers.entries()) expect(logit).toBeCloseTo((6 * i * 2) / 255, 4);
    expect(finished).toEqual([...finished.keys()]);
  });

  it("copies the bytes before it returns, so that the caller may reuse the buffer", async () => {
    const inference = await start();
    const buffer = Uint8Array.from(picture(255, 0, 0));
    const answer = inference.run(buffer, 1);
    buffer.fill(0);
    expect((await answer).logits[1]).toBeCloseTo(6, 5);
  });

  it("does not block the event loop", async () => {
    const inference = await start({ preprocess: { crop: { width: 256, height: 256 } } }, { imageShape: [256, 256] });
    const count = 16;
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const { durationMs } = await inference.run(new Uint8Array(count * 256 * 256 * 3), count);
    clearInterval(timer);
    expect(durationMs).toBeGreaterThan(10);
    expect(ticks).toBeGreaterThan(2);
  });

  it("refuses bytes that do not fill the shape, without asking the thread", async () => {
    const inference = await start();
    const error = await refusal(inference.run(new Uint8Array(11), 1));
    expect(error.code).toBe("E_ENGINE_RUN");
    expect(error.message).toBe("Expected 12 bytes, uint8 [1, 2, 2, 3], got 11.");
    expect((await refusal(inference.run(new Uint8Array(0), 0))).code).toBe("E_ENGINE_RUN");
  });

  it("hands on the engine's error for one call and continues with the next", async () => {
    // The model wants 2x2 pictures; the caller promised 4x4.
    const inference = await start({}, { imageShape: [4, 4] });
    for (let i = 0; i < 2; i++) expect((await refusal(inference.run(new Uint8Array(48), 1))).code).toBe("E_ENGINE_RUN");
    expect(inference.alive).toBe(true);
  });
});

describe("startInference", () => {
  it("refuses bytes that are not a model, and leaves no thread behind", async () => {
    process.on("worker", remember);
    const error = await refusal(startInference(Uint8Array.of(1, 2, 3), { imageShape: [2, 2] }));
    expect(error.code).toBe("E_ENGINE_MODEL");
    if (workers[0]!.threadId !== -1) await once(workers[0]!, "exit");
    expect(workers).toHaveLength(1);
  });
});

describe("when the thread dies", () => {
  const red = Uint8Array.from(picture(255, 0, 0));

  it("rejects the calls it had with E_INFERENCE_STOPPED, and a new thread answers the next ones", async () => {
    const inference = await start();
    await inference.run(red, 1);
    const first = workers.at(-1)!;
    const codeOf = async (): Promise<string> =>
      await inference.run(red, 1).then(
        () => "answered",
        (error: ServalError) => error.code,
      );
    const codes = Array.from({ length: 20 }, codeOf);
    await first.terminate();
    // It may have answered some of them before it was stopped, but not the last.
    expect((await Promise.all(codes)).at(-1)).toBe("E_INFERENCE_STOPPED");
    expect(inference.alive).toBe(true);
    expect((await inference.run(red, 1)).logits[1]).toBeCloseTo(6, 5);
    expect(workers.at(-1)).not.toBe(first);
  });

  it("gives up when the new thread dies before it has answered anything", async () => {
    const inference = await start();
    await inference.run(red, 1);
    const count = workers.length;
    await workers.at(-1)!.terminate();
    expect(workers).toHaveLength(count + 1);
    await workers.at(-1)!.terminate();
    expect(inference.alive).toBe(false);
    const error = await refusal(inference.run(red, 1));
    expect(error.code).toBe("E_INFERENCE_STOPPED");
    expect(error.message).toContain("was not restarted");
    expect(workers).toHaveLength(count + 1);
  });
});

describe("close", () => {
  it("answers what was asked before, refuses what comes after, and may be called twice", async () => {
    const inference = await start();
    const asked = inference.run(Uint8Array.from(picture(255, 0, 0)), 1);
    const closed = inference.close();
    expect((await refusal(inference.run(Uint8Array.from(picture(0, 0, 0)), 1))).message).toBe("The inference thread is closed.");
    expect((await asked).logits[1]).toBeCloseTo(6, 5);
    await Promise.all([closed, inference.close()]);
    expect(inference.alive).toBe(false);
  });
});
