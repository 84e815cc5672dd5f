import { toServalError } from "../errors.ts";
import { configureSharp, inspectHere } from "./decode.ts";
import type { DecodeAnswers, DecodeReply, DecodeTask } from "./decode-call.ts";
import { decodeForMap } from "./heat-map.ts";
import { preprocessHere } from "./preprocess.ts";

/** How often the memory is looked at while a picture is decoded. */
const watchEveryMs = 20;
/** Node, the libraries and the file itself; and for each pixel that the limit allows two times its four bytes. */
const baseMemoryBytes = 192e6;
const memoryBytesPerPixel = 8;

/** The program of a decoder process: decodes one picture after the other. Libraries decode beside this thread, which watches. */
async function decodePictures(send: (reply: DecodeReply) => void): Promise<void> {
  // Nobody waits for the answer any more, and the decoder may be far from its end.
  process.once("disconnect", () => process.kill(process.pid, "SIGKILL"));
  process.on("message", (task: DecodeTask) => void answer(task));
  configureSharp();
  send({ kind: "ready" });

  async function answer(task: DecodeTask): Promise<void> {
    const maxBytes = baseMemoryBytes + memoryBytesPerPixel * task.limits.maxPixels;
    const watch = setInterval(() => {
      const bytes = process.memoryUsage.rss();
      if (bytes > maxBytes) send({ kind: "memory", bytes });
    }, watchEveryMs);
    try {
      send({ kind: "done", answer: await decode(task) });
    } catch (error) {
      const { code, message } = toServalError(error);
      send({ kind: "failed", code, message });
    } finally {
      clearInterval(watch);
    }
  }
}

async function decode(task: DecodeTask): Promise<DecodeAnswers[DecodeTask["kind"]]> {
  if (task.kind === "inspect") return await inspectHere(task.image, task.limits);
  const { image, preprocess, limits, forMap } = task;
  const startedAt = performance.now();
  const pixels = await preprocessHere(image, preprocess, limits);
  const seen = forMap ? await decodeForMap(image, preprocess, limits) : null;
  return { pixels, seen, decodeMs: performance.now() - startedAt };
}

if (process.send) await decodePictures(process.send.bind(process));
