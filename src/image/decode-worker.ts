import { answerCalls } from "../threads/answer-calls.ts";
import { processPort } from "../threads/process-port.ts";
import { defaultMaxDecodeMs, type ImageLimits } from "./check-image.ts";
import { configureSharp, inspectHere } from "./decode.ts";
import type { DecodeProtocol, DecodeTask } from "./decode-call.ts";
import { decodeForMap } from "./heat-map.ts";
import { preprocessHere } from "./preprocess.ts";

/** How often time and memory are looked at while a picture is decoded. */
const watchEveryMs = 20;
/** Node, the libraries and the file itself; and for each pixel that the limit allows two times its four bytes. */
const baseMemoryBytes = 192e6;
const memoryBytesPerPixel = 8;

type Tell = (event: DecodeProtocol["event"]) => void;

function watchLimits({ maxPixels, maxDecodeMs = defaultMaxDecodeMs }: ImageLimits, tell: Tell): NodeJS.Timeout {
  const maxBytes = baseMemoryBytes + memoryBytesPerPixel * maxPixels;
  const before = process.cpuUsage();
  return setInterval(() => {
    const bytes = process.memoryUsage.rss();
    const { user, system } = process.cpuUsage(before);
    if (bytes > maxBytes) {
      const message = `Decoding the image took ${megabytes(bytes)} MB of memory; at most ${megabytes(maxBytes)} MB are allowed.`;
      tell({ limit: "memory", message });
    } else if (user + system > 1000 * maxDecodeMs) {
      tell({ limit: "time", message: `Decoding the image took more than ${maxDecodeMs} ms of processor time.` });
    }
  }, watchEveryMs);
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}

async function decode(task: DecodeTask): Promise<DecodeProtocol["answer"]> {
  if (task.kind === "inspect") return await inspectHere(task.image, task.limits);
  const { image, preprocess, limits, forMap } = task;
  const startedAt = performance.now();
  const pixels = await preprocessHere(image, preprocess, limits);
  const seen = forMap ? await decodeForMap(image, preprocess, limits) : null;
  return { pixels, seen, decodeMs: performance.now() - startedAt };
}

/** The program of a decoder process: decodes one picture after the other. Libraries decode beside this thread, which watches. */
const port = processPort();
if (port) {
  await answerCalls<DecodeProtocol>(port, (tell) => {
    configureSharp();
    return {
      async call(task) {
        const watch = watchLimits(task.limits, tell);
        try {
          return await decode(task);
        } finally {
          clearInterval(watch);
        }
      },
    };
  });
}
