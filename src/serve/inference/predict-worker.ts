import { parentPort } from "node:worker_threads";
import { ServalError } from "../../errors/serval-error.ts";
import type { ImageLimits } from "../../image/check-image.ts";
import { releasePixels } from "../../image/decode.ts";
import { decodeForMap, drawHeatMap, type SeenPicture } from "../../image/heat-map.ts";
import { preprocessHere, type Size } from "../../image/preprocess.ts";
import { estimateStatistics, type ImageStatistics } from "../../image/statistics.ts";
import { placeInSpace, type PlaceInSpace } from "../../model/feature-space.ts";
import type { Session, Tensor } from "../../runtime/engine.ts";
import { CallPort } from "../../threads/call-port.ts";
import type { NumberedCall } from "../../threads/messages.ts";
import { classActivation } from "./class-activation.ts";
import { checkLimits } from "./limits.ts";
import type { Picture, PredictAnswers, PredictProtocol, PredictSetup, PredictTask } from "./predict-call.ts";
import { pixelTensor, Sessions } from "./sessions.ts";

const scores = ["logits", "probabilities"];

type TaskOf<Kind extends PredictTask["kind"]> = PredictTask & { readonly kind: Kind };

/** One thread of the pool, with its model. Calls overlap where they wait for the decoder. */
class PredictServer {
  readonly #port: CallPort<PredictProtocol>;
  readonly #setup: PredictSetup;
  readonly #input: Size;
  readonly #sessions: Sessions;
  readonly #running = new Set<Promise<void>>();

  constructor(port: CallPort<PredictProtocol>, setup: PredictSetup, sessions: Sessions) {
    this.#port = port;
    this.#setup = setup;
    this.#input = inputSize(setup);
    this.#sessions = sessions;
  }

  take(calls: readonly NumberedCall<PredictProtocol>[]): void {
    const work = this.#work(calls);
    this.#running.add(work);
    void work.finally(() => this.#running.delete(work));
  }

  /** After all that was taken is answered. */
  async close(): Promise<void> {
    await Promise.all(this.#running);
    await this.#sessions.close();
  }

  async #work(calls: readonly NumberedCall<PredictProtocol>[]): Promise<void> {
    const alone = calls.every(({ call }) => call.alone);
    const session = this.#sessions.pick(alone);
    const images = calls.flatMap(({ id, call: { task } }) => (task.kind === "predict" ? [{ id, picture: task.picture }] : []));
    const others = calls.filter(({ call }) => call.task.kind !== "predict");
    await Promise.all([
      this.#predict(images, session),
      ...others.map(async ({ id, call }) => await this.#answer(id, async () => await this.#run(call.task, session))),
    ]);
    // The first request is answered: now is time for what makes the next one faster.
    if (alone && images.length > 0) await this.#sessions.widen();
  }

  async #answer(id: number, work: () => Promise<PredictProtocol["answer"]>): Promise<void> {
    try {
      this.#port.done(id, await work());
    } catch (error) {
      this.#port.failed(id, error);
    }
  }

  async #run(task: PredictTask, session: Session): Promise<PredictProtocol["answer"]> {
    if (task.kind === "explain") return await this.#explain(task, session);
    if (task.kind === "check") return await this.#check(task.picture, session);
    if (task.kind === "infer") return await this.#infer(task, session);
    throw new ServalError("E_INTERNAL", "Images that came together go through the model together.");
  }

  /** Images that came together go through the model together; one that cannot be decoded fails alone. */
  async #predict(tasks: readonly { id: number; picture: Picture }[], session: Session): Promise<void> {
    const decoded: { id: number; pixels: Uint8Array; preprocessMs: number }[] = [];
    await Promise.all(
      tasks.map(async ({ id, picture }) => {
        try {
          decoded.push({ id, ...(await this.#decode(picture, this.#setup.limits)) });
        } catch (error) {
          this.#port.failed(id, error);
        }
      }),
    );
    const [first] = decoded;
    if (first === undefined) return;
    const decodedAt = performance.now();
    try {
      const pixels = decoded.length === 1 ? first.pixels : Buffer.concat(decoded.map((item) => item.pixels));
      const outputs = await this.#runModel(session, pixels, decoded.length, ["probabilities", ...this.#spaceOutputs()]);
      const places = this.#place(outputs, decoded.length);
      const modelMs = performance.now() - decodedAt;
      const all = values(outputs, "probabilities");
      const classes = all.length / decoded.length;
      for (const [i, { id, pixels, preprocessMs }] of decoded.entries()) {
        this.#port.done(id, {
          probabilities: all.slice(i * classes, (i + 1) * classes),
          statistics: this.#describe(pixels),
          place: places[i] ?? null,
          timings: { preprocessMs, modelMs },
        });
      }
    } catch (error) {
      for (const { id } of decoded) this.#port.failed(id, error);
    } finally {
      for (const { pixels } of decoded) releasePixels(pixels);
    }
  }

  async #check(picture: Picture, session: Session): Promise<PredictAnswers["check"]> {
    const { pixels } = await this.#decode(picture, checkLimits);
    const outputs = await this.#runModel(session, pixels, 1, ["probabilities"]);
    return { probabilities: values(outputs, "probabilities") };
  }

  async #explain(task: TaskOf<"explain">, session: Session): Promise<PredictAnswers["explain"]> {
    const { classifier, preprocess, limits } = this.#setup;
    if (classifier === null) throw new ServalError("E_EXPLAIN", "The bundle's weights hold no linear classifier (fc.weight).");
    const { pixels, preprocessMs } = await this.#decode(task.picture, limits);
    const decodedAt = performance.now();
    const outputs = await this.#runModel(session, pixels, 1, [...scores, "features"]);
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
    const overlay = task.overlay ? await drawHeatMap(await this.#seen(task.picture), preprocess, map) : null;
    const [place = null] = this.#place(outputs, 1);
    return {
      probabilities,
      classIndex,
      logit,
      map,
      overlay,
      statistics: this.#describe(pixels),
      place,
      timings: { preprocessMs, modelMs },
    };
  }

  async #infer(task: TaskOf<"infer">, session: Session): Promise<PredictAnswers["infer"]> {
    const startedAt = performance.now();
    const names = task.features ? [...scores, "features"] : [...scores, ...this.#spaceOutputs()];
    const outputs = await this.#runModel(session, task.images, task.count, names);
    const result = {
      logits: values(outputs, "logits"),
      probabilities: values(outputs, "probabilities"),
      places: this.#place(outputs, task.count),
      modelMs: performance.now() - startedAt,
      statistics: this.#describeEach(task.images, task.count),
    };
    const features = outputs["features"];
    return features && task.features ? { ...result, features: { shape: features.shape, values: values(outputs, "features") } } : result;
  }

  async #decode(picture: Picture, limits: ImageLimits): Promise<{ pixels: Uint8Array; preprocessMs: number }> {
    if ("decoded" in picture) return { pixels: picture.decoded.pixels, preprocessMs: picture.decoded.decodeMs };
    const startedAt = performance.now();
    const pixels = await preprocessHere(picture.encoded, this.#setup.preprocess, limits);
    return { pixels, preprocessMs: performance.now() - startedAt };
  }

  #describe(pixels: Uint8Array): ImageStatistics {
    return estimateStatistics(pixels, this.#input.width, this.#input.height);
  }

  #describeEach(images: Uint8Array, count: number): ImageStatistics[] {
    const bytes = images.length / count;
    return Array.from({ length: count }, (_, i) => this.#describe(images.subarray(i * bytes, (i + 1) * bytes)));
  }

  /** What the model has to give beside its answers. */
  #spaceOutputs(): string[] {
    return this.#setup.space === null ? [] : ["features"];
  }

  /** Where each picture of a batch lies; [] where the bundle cannot say. */
  #place(outputs: Record<string, Tensor>, count: number): PlaceInSpace[] {
    const { space } = this.#setup;
    if (space === null) return [];
    const features = values(outputs, "features");
    const length = features.length / count;
    return Array.from({ length: count }, (_, i) => placeInSpace(space, features.subarray(i * length, (i + 1) * length)));
  }

  /** What a map is drawn over. */
  async #seen(picture: Picture): Promise<SeenPicture> {
    if ("encoded" in picture) return await decodeForMap(picture.encoded, this.#setup.preprocess, this.#setup.limits);
    if (picture.decoded.seen === null) throw new ServalError("E_INTERNAL", "The picture was decoded without what a map is drawn over.");
    return picture.decoded.seen;
  }

  async #runModel(session: Session, pixels: Uint8Array, count: number, names: string[]): Promise<Record<string, Tensor>> {
    return await session.run({ images: pixelTensor(this.#input, pixels, count) }, {}, names);
  }
}

function inputSize({ preprocess }: PredictSetup): Size {
  return preprocess.crop ?? preprocess;
}

function values(outputs: Record<string, Tensor>, name: string): Float32Array {
  return outputs[name]?.data as Float32Array;
}

/** Takes a model, then answers with it. Nothing here keeps the model's bytes: they are megabytes. */
function servePredictions(port: CallPort<PredictProtocol>): void {
  let server: PredictServer | undefined;
  let opening: Promise<void> = Promise.resolve();
  const open = async ({ model, setup }: PredictProtocol["note"]): Promise<void> => {
    try {
      server = new PredictServer(port, setup, await Sessions.open(model, inputSize(setup), setup.aloneThreads));
      port.ready();
    } catch (error) {
      port.refused(error);
    }
  };
  const close = async (): Promise<void> => {
    await opening;
    await server?.close();
    port.close();
  };
  port.listen({ note: (note) => void (opening = open(note)), calls: (calls) => server?.take(calls), close: () => void close() });
}

if (parentPort) servePredictions(new CallPort(parentPort));
