import { on } from "node:events";
import { parentPort, type MessagePort } from "node:worker_threads";
import { ServalError, toServalError } from "../errors.ts";
import { releasePixels } from "../image/decode.ts";
import { renderHeatMap } from "../image/heat-map.ts";
import { preprocessImage, type ImageLimits, type Size } from "../image/preprocess.ts";
import type { Session, Tensor } from "../runtime/engine.ts";
import { classActivation } from "./class-activation.ts";
import type { NumberedTask, PredictAnswers, PredictSetup, PredictTask, WorkerAnswer, WorkerCall } from "./predict-call.ts";
import { openSessions, pixelTensor, type Sessions } from "./sessions.ts";

const scores = ["logits", "probabilities"];
// Part of the bundle and hashed when it was loaded, so a service that takes only small pictures can still check itself.
const checkLimits: ImageLimits = { maxBytes: 16 * 1024 * 1024, maxPixels: 16_000_000 };

type Calls = NodeJS.AsyncIterator<[WorkerCall]>;

/** One thread of the pool: takes a model, then serves it. */
async function startThread(port: MessagePort): Promise<void> {
  const calls = on(port, "message") as Calls;
  const [call] = (await calls.next()).value as [WorkerCall];
  if (call.kind !== "model") {
    port.close();
    return;
  }
  const { model, setup } = call;
  try {
    const sessions = await openSessions(model, inputSize(setup), setup.aloneThreads);
    // Not awaited: while this function waited, it would keep the model's bytes.
    void servePredictions(port, calls, setup, sessions);
  } catch (error) {
    const { code, message } = toServalError(error);
    port.postMessage({ kind: "refused", code, message } satisfies WorkerAnswer);
  }
}

function inputSize({ preprocess }: PredictSetup): Size {
  return preprocess.crop ?? preprocess;
}

/** Decodes, runs the model, answers. Calls overlap where they wait for the decoder. */
async function servePredictions(port: MessagePort, calls: Calls, setup: PredictSetup, sessions: Sessions): Promise<void> {
  const answer = (message: WorkerAnswer): void => port.postMessage(message);
  const input = inputSize(setup);

  const run = async (session: Session, pixels: Uint8Array, count: number, names: string[]): Promise<Record<string, Tensor>> =>
    await session.run({ images: pixelTensor(input, pixels, count) }, {}, names);

  const decode = async (image: Uint8Array): Promise<Uint8Array> => await preprocessImage(image, setup.preprocess, setup.limits);

  const fail = (id: number, error: unknown): void => {
    const { code, message } = toServalError(error);
    answer({ kind: "failed", id, code, message });
  };

  /** Images that came together go through the model together; one that cannot be decoded fails alone. */
  const predict = async (tasks: readonly { id: number; image: Uint8Array }[], session: Session): Promise<void> => {
    const startedAt = performance.now();
    const decoded: { id: number; pixels: Uint8Array }[] = [];
    await Promise.all(
      tasks.map(async ({ id, image }) => {
        try {
          decoded.push({ id, pixels: await decode(image) });
        } catch (error) {
          fail(id, error);
        }
      }),
    );
    const [first] = decoded;
    if (first === undefined) return;
    const decodedAt = performance.now();
    try {
      const pixels = decoded.length === 1 ? first.pixels : Buffer.concat(decoded.map((item) => item.pixels));
      const outputs = await run(session, pixels, decoded.length, ["probabilities"]);
      const timings = { preprocessMs: decodedAt - startedAt, modelMs: performance.now() - decodedAt };
      const all = values(outputs, "probabilities");
      const classes = all.length / decoded.length;
      for (const [i, { id }] of decoded.entries()) {
        answer({ kind: "done", id, answer: { probabilities: all.slice(i * classes, (i + 1) * classes), timings } });
      }
    } catch (error) {
      for (const { id } of decoded) fail(id, error);
    } finally {
      for (const { pixels } of decoded) releasePixels(pixels);
    }
  };

  const check = async (image: Uint8Array, session: Session): Promise<PredictAnswers["check"]> => {
    const outputs = await run(session, await preprocessImage(image, setup.preprocess, checkLimits), 1, ["probabilities"]);
    return { probabilities: values(outputs, "probabilities") };
  };

  const explain = async (task: PredictTask & { kind: "explain" }, session: Session): Promise<PredictAnswers["explain"]> => {
    const { classifier, preprocess, limits } = setup;
    if (classifier === null) throw new ServalError("E_EXPLAIN", "The bundle's weights hold no linear classifier (fc.weight).");
    const startedAt = performance.now();
    const pixels = await decode(task.image);
    const decodedAt = performance.now();
    const outputs = await run(session, pixels, 1, [...scores, "features"]);
    const modelMs = performance.now() - decodedAt;
    const [logits, probabilities] = [values(outputs, "logits"), values(outputs, "probabilities")];
    const classIndex = task.classIndex ?? probabilities.indexOf(Math.max(...probabilities));
    const [, , h, w] = (outputs["features"] as Tensor).shape as [number, number, number, number];
    const logit = logits[classIndex] as number;
    const map = { width: w, height: h, values: classActivation(classifier, values(outputs, "features"), h * w, classIndex, logit) };
    const overlay = task.overlay ? await renderHeatMap(task.image, preprocess, limits, map) : null;
    return { probabilities, classIndex, logit, map, overlay, timings: { preprocessMs: decodedAt - startedAt, modelMs } };
  };

  const infer = async (task: PredictTask & { kind: "infer" }, session: Session): Promise<PredictAnswers["infer"]> => {
    const startedAt = performance.now();
    const outputs = await run(session, task.images, task.count, task.features ? [...scores, "features"] : scores);
    const result = {
      logits: values(outputs, "logits"),
      probabilities: values(outputs, "probabilities"),
      modelMs: performance.now() - startedAt,
    };
    const features = outputs["features"];
    return features ? { ...result, features: { shape: features.shape, values: values(outputs, "features") } } : result;
  };

  const single = async ({ id, task }: NumberedTask, session: Session): Promise<void> => {
    try {
      if (task.kind === "explain") answer({ kind: "done", id, answer: await explain(task, session) });
      else if (task.kind === "check") answer({ kind: "done", id, answer: await check(task.image, session) });
      else if (task.kind === "infer") answer({ kind: "done", id, answer: await infer(task, session) });
    } catch (error) {
      fail(id, error);
    }
  };

  answer({ kind: "ready" });
  const running = new Set<Promise<unknown>>();
  for await (const [call] of calls) {
    if (call.kind !== "tasks") break;
    const session = sessions.pick(call.alone);
    const images = call.tasks.flatMap(({ id, task }) => (task.kind === "predict" ? [{ id, image: task.image }] : []));
    const others = call.tasks.filter(({ task }) => task.kind !== "predict");
    const work = Promise.all([predict(images, session), ...others.map(async (task) => await single(task, session))]).then(
      // The first request is answered: now is time for what makes the next one faster.
      async () => await (call.alone && images.length > 0 ? sessions.widen() : undefined),
    );
    running.add(work);
    void work.finally(() => running.delete(work));
  }
  await Promise.all(running);
  await sessions.close();
  port.close();
}

function values(outputs: Record<string, Tensor>, name: string): Float32Array {
  return outputs[name]?.data as Float32Array;
}

if (parentPort) await startThread(parentPort);
