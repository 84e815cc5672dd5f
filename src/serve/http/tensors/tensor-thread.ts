import { extname } from "node:path";
import type { Size } from "../../../image/preprocess.ts";
import { JobThread } from "../../../threads/job-thread.ts";
import { writeAnswerJson, type TensorAnswer } from "./tensor-answer.ts";
import { readTensorRequest, type ReadTensorRequest } from "./tensor-request.ts";

export type TensorJob =
  | { readonly kind: "read"; readonly json: Uint8Array; readonly binaryBytes: number; readonly size: Size }
  | { readonly kind: "write"; readonly answer: TensorAnswer };

export type TensorResult =
  | { readonly kind: "read"; readonly request: ReadTensorRequest }
  | { readonly kind: "written"; readonly json: Uint8Array };

/** JSON up to this size is read on the event loop, which takes about a millisecond: a thread would take longer. */
const smallJsonBytes = 32 * 1024;
/** As many numbers are written on the event loop. */
const smallNumbers = 4096;
/** A body of 16 MB takes about 0.15 s. */
const deadlineMs = 5000;
const waitingLimit = 16;
const heapMb = 256;

/** Reads requests and writes answers of the inference protocol: large ones in a thread, so that no other request waits for them. */
export class TensorThread {
  readonly #thread: JobThread<TensorJob, TensorResult> = new JobThread({
    // Runs from the sources and from the emitted JavaScript alike.
    file: new URL(`./tensor-worker${extname(import.meta.url)}`, import.meta.url),
    name: "serval-tensors",
    deadlineMs,
    waitingLimit,
    heapMb,
  });

  /** As `readTensorRequest`, of the first `jsonBytes` of a body that is not used elsewhere. Throws E_QUEUE_FULL and E_JOB_STOPPED too. */
  async read(body: Uint8Array, jsonBytes: number, size: Size, signal: AbortSignal): Promise<ReadTensorRequest> {
    const binaryBytes = body.length - jsonBytes;
    if (jsonBytes <= smallJsonBytes) return readTensorRequest(body.subarray(0, jsonBytes), binaryBytes, size);
    // Moves to the thread where it has its memory to itself, and is copied otherwise.
    const json = binaryBytes === 0 && body.byteLength === body.buffer.byteLength ? body : body.slice(0, jsonBytes);
    const result = await this.#thread.run({ kind: "read", json, binaryBytes, size }, { transfer: [json.buffer as ArrayBuffer], signal });
    return (result as TensorResult & { kind: "read" }).request;
  }

  /** As `writeAnswerJson`. */
  async write(answer: TensorAnswer, signal: AbortSignal): Promise<Uint8Array> {
    const numbers = answer.outputs.reduce((sum, { values, binary }) => sum + (binary ? 0 : values.length), 0);
    if (numbers <= smallNumbers) return writeAnswerJson(answer);
    const result = await this.#thread.run({ kind: "write", answer }, { signal });
    return (result as TensorResult & { kind: "written" }).json;
  }

  close(): void {
    this.#thread.close();
  }
}
