import { on } from "node:events";
import { parentPort, type MessagePort } from "node:worker_threads";
import { ServalError, toServalError } from "../../errors/serval-error.ts";
import type { ImageLimits } from "../../image/check-image.ts";
import { releasePixels } from "../../image/decode.ts";
import { decodeForMap, drawHeatMap, type SeenPicture } from "../../image/heat-map.ts";
import { preprocessHere, type Size } from "../../image/preprocess.ts";
import type { Session, Tensor } from "../../runtime/engine.ts";
import { classActivation } from "./class-activation.ts";
import { checkLimits } from "./limits.ts";
import type { NumberedTask, Picture, PredictAnswers, PredictSetup, PredictTask, WorkerAnswer, WorkerCall } from "./predict-call.ts";
import { openSessions, pixelTensor, type Sessions } from "./sessions.ts";

const scores = ["logits", "probabilities"];

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
  const { limits } = setup;

  const run = async (session: Session, pixels: Uint8Array, count: number, names: string[]): Promise<Record<string, Tensor>> =>
    await session.run({ images: pixelTensor(input, pixels, count) }, {}, names);

  const decode = async (picture: Picture, limits: ImageLimits): Promise<{ pixels: Uint8Array; preprocessMs: number }> => {
    if ("decoded" in picture) return { pixels: picture.decoded.pixels, preprocessMs: picture.decoded.decodeMs };
    const startedAt = performance.now();
    const pixels = await preprocessHere(picture.encoded, setup.preprocess, limits);
    return { pixels, preprocessMs: performance.now() - startedAt };
  };

  const fail = (id: number, error: unknown): void => {
    const { code, message } = toServalError(error);
    answer({ kind: "failed", id, code, message });
  };

  /** Images that came together go through the model together; one that cannot be decoded fails alone. */
  const predict = async (tasks: readonly { id: number; picture: Picture }[], session: Session): Promise<void> => {
    const decoded: { id: number; pixels: Uint8Array; preprocessMs: number }[] = [];
    await Promise.all(
      tasks.map(async ({ id, picture }) => {
        try {
          decoded.push({ id, ...(await decode(picture, limits)) });
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
      const modelMs = performance.now() - decodedAt;
      const all = values(outputs, "probabilities");
      const classes = all.length / decoded.length;
      for (const [i, { id, preprocessMs }] of decoded.entries()) {
        const timings = { preprocessMs, modelMs };
        answer({ kind: "done", id, answer: { probabilities: all.slice(i * classes, (i + 1) * classes), timings } });
      }
    } catch (error) {
      for (const { id } of decoded) fail(id, error);
    } finally {
      for (const { pixels } of decoded) releasePixels(pixels);
    }
  };

  const check = async (picture: Picture, session: Session): Promise<PredictAnswers["check"]> => {
    const { pixels } = await decode(picture, checkLimits);
    const outputs = await run(session, pixels, 1, ["probabilities"]);
    return { probabilities: values(outputs, "probabilities") };
  };

  const seen = async (picture: Picture): Promise<SeenPicture> => {
    if ("encoded" in picture) return await decodeForMap(picture.encoded, setup.preprocess, limits);
    if (picture.decoded.seen === null) throw new ServalError("E_INTERNAL", "The picture was decoded without what a map is drawn over.");
    return picture.decoded.seen;
  };

  const explain = async (task: PredictTask & { kind: "explain" }, session: Session): Promise<PredictAnswers["explain"]> => {
    const { classifier, preprocess } = setup;
    if (classifier === null) throw new ServalError("E_EXPLAIN", "The bundle's weights hold no linear classifier (fc.weight).");
    const { pixels, preprocessMs } = await decode(task.picture, limits);
    const decodedAt = performance.now();
    const outputs = await run(session, pixels, 1, [...scores, "features"]);
    const modelMs = performance.now() - decodedAt;
    const [logits, probabilities] = [values(outputs, "logits"), values(outputs, "probabilities")];
    const classIndex = task.classIndex ?? probabilities.indexOf(Math.max(...probabilities));
    const { shape } = outputs["features"] as Tensor;
    const [, channels, h, w] = shape;
    if (h === undefined || w === undefined) {
      throw new ServalError("E_EXPLAIN", `The features of this model are ${channels} numbers for a whole picture, not maps of its places.`);
    }
    const logit = logits[classIndex] as number;
    const map = { width: w, height: h, values: classActivation(classifier, values(outputs, "features"), h * w, classIndex, logit) };
    const overlay = task.overlay ? await drawHeatMap(await seen(task.picture), preprocess, map) : null;
    return { probabilities, classIndex, logit, map, overlay, timings: { preprocessMs, modelMs } };
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
      else if (task.kind === "check") answer({ kind: "done", id, answer: await check(task.picture, session) });
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
    const images = call.tasks.flatMap(({ id, task }) => (task.kind === "predict" ? [{ id, picture: task.picture }] : []));
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
