import { toServalError } from "../errors/serval-error.ts";
import { defaultMaxDecodeMs, type ImageLimits } from "./check-image.ts";
import { configureSharp, inspectHere } from "./decode.ts";
import type { DecodeAnswers, DecodeReply, DecodeTask } from "./decode-call.ts";
import { decodeForMap } from "./heat-map.ts";
import { preprocessHere } from "./preprocess.ts";

/** How often time and memory are looked at while a picture is decoded. */
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
    const watch = watchLimits(task.limits, send);
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

function watchLimits({ maxPixels, maxDecodeMs = defaultMaxDecodeMs }: ImageLimits, send: (reply: DecodeReply) => void): NodeJS.Timeout {
  const maxBytes = baseMemoryBytes + memoryBytesPerPixel * maxPixels;
  const before = process.cpuUsage();
  return setInterval(() => {
    const bytes = process.memoryUsage.rss();
    const { user, system } = process.cpuUsage(before);
    if (bytes > maxBytes) {
      const message = `Decoding the image took ${megabytes(bytes)} MB of memory; at most ${megabytes(maxBytes)} MB are allowed.`;
      send({ kind: "over", limit: "memory", message });
    } else if (user + system > 1000 * maxDecodeMs) {
      send({ kind: "over", limit: "time", message: `Decoding the image took more than ${maxDecodeMs} ms of processor time.` });
    }
  }, watchEveryMs);
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
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
