import { writeFileSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { ServalError } from "../../src/errors/serval-error.ts";
import { answerCalls, Moved } from "../../src/threads/answer-calls.ts";
import { processPort } from "../../src/threads/process-port.ts";

/** What the tests ask of a thread, and of a process. */
export interface EchoProtocol {
  readonly call:
    | { readonly kind: "echo"; readonly value: unknown }
    | { readonly kind: "double"; readonly bytes: Uint8Array<ArrayBuffer> }
    | { readonly kind: "heard" }
    | { readonly kind: "throw"; readonly what: "serval" | "full disk" | "function" | "text" }
    | { readonly kind: "no clone" }
    | { readonly kind: "hang" }
    | { readonly kind: "exit"; readonly code: number };
  readonly answer: unknown;
  readonly note: string;
  readonly event: string;
}

export interface EchoData {
  readonly refuse?: boolean;
  readonly neverReady?: boolean;
  /** A file that is written when the thread is closed. */
  readonly closedFile?: string;
}

function throwWhat(what: string): never {
  if (what === "text") throw "a text";
  if (what === "function") throw new ServalError("E_TENSOR", "It does not fit.", { details: { work: () => 1 }, cause: () => 2 });
  const full = Object.assign(new TypeError("no space", { cause: new ServalError("E_SHARDS_CORRUPT", "The deepest.") }), {
    code: "ENOSPC",
    errno: -28,
  });
  if (what === "full disk") throw full;
  throw new ServalError("E_TENSOR", "It does not fit.", {
    hint: "Send another.",
    details: { shape: [1, 2], limit: 3 },
    cause: new ServalError("E_IMAGE_CORRUPT", "Half of it.", { hint: "The inner hint.", details: { at: 7 }, cause: full }),
  });
}

const data = (workerData ?? {}) as EchoData;
const port = parentPort ?? processPort();
if (port) {
  await answerCalls<EchoProtocol>(port, async (tell) => {
    if (data.refuse === true) throw new ServalError("E_ENGINE_MODEL", "No such model.", { hint: "Bring one.", details: { byte: 3 } });
    if (data.neverReady === true) await new Promise((resolve) => setTimeout(resolve, 1e8));
    const heard: string[] = [];
    tell("begun");
    return {
      call(call) {
        if (call.kind === "echo") return call.value;
        if (call.kind === "heard") return heard;
        if (call.kind === "throw") throwWhat(call.what);
        if (call.kind === "no clone") return () => 1;
        if (call.kind === "exit") process.exit(call.code);
        while (call.kind === "hang");
        const bytes = (call as { bytes: Uint8Array<ArrayBuffer> }).bytes.map((byte) => 2 * byte);
        return new Moved(bytes, [bytes.buffer]);
      },
      note: (text) => void heard.push(text),
      close() {
        if (data.closedFile !== undefined) writeFileSync(data.closedFile, heard.join(","));
      },
    };
  });
}
