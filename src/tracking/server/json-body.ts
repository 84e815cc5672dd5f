import { extname } from "node:path";
import { JobThread } from "../../threads/job-thread.ts";
import { findJsonExcess, type JsonLimits } from "../../http/json-limits.ts";
import { refusal, type RefusalCode } from "./refusal.ts";

/** Beyond this a body is parsed in a thread: here it takes a few milliseconds at most. */
const smallBytes = 64 * 1024;
/**
 * What a body, or a JSON text inside one, may hold. The largest batch of MLflow's limits, 1,000 metrics of 7 fields, has
 * 8,000 values; as many as these are checked against a schema in about 10 ms.
 */
const limits: JsonLimits = { values: 20_000, nesting: 64 };
const deadlineMs = 5000;
const waitingLimit = 16;
const heapMb = 256;

/** Parses the bodies of requests: large ones in a thread, so that no other request waits for them. */
export class JsonBodies {
  readonly #thread: JobThread<Uint8Array, object> = new JobThread({
    // Runs from the sources and from the emitted JavaScript alike.
    file: new URL(`./json-body-worker${extname(import.meta.url)}`, import.meta.url),
    name: "serval-bodies",
    deadlineMs,
    waitingLimit,
    heapMb,
  });

  /** As `parseBody`, of bytes that are not used elsewhere. Throws E_QUEUE_FULL and E_JOB_STOPPED too. */
  async parse(body: Uint8Array): Promise<object> {
    if (body.length <= smallBytes) return parseBody(body);
    // Moves to the thread where it has its memory to itself, and is copied otherwise.
    const own = body.byteLength === body.buffer.byteLength ? body : body.slice();
    return await this.#thread.run(own, { transfer: [own.buffer as ArrayBuffer] });
  }

  close(): void {
    this.#thread.close();
  }
}

/** The object of a body, without members that are null: protobuf's JSON mapping takes null for a field that is not there. */
export function parseBody(bytes: Uint8Array): object {
  if (bytes.every((byte) => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09)) return {};
  let body = parseWithin(bytes, "The body");
  // MLflow's first clients sent the JSON of the JSON.
  if (typeof body === "string") body = parseWithin(Buffer.from(body), "The body");
  if (typeof body !== "object" || body === null || Array.isArray(body)) throw refusal("BAD_REQUEST", "The body: expected a JSON object.");
  return withoutNulls(body) as object;
}

/** A JSON text within the limits. `what` is its name for messages; `errorCode` says that it is not JSON. */
export function parseWithin(bytes: Uint8Array, what: string, errorCode: RefusalCode = "BAD_REQUEST"): unknown {
  const excess = findJsonExcess(bytes, limits);
  if (excess !== undefined) throw refusal("BAD_REQUEST", `${what} is too large: ${excess}. Send it in several requests.`);
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"));
  } catch (error) {
    throw refusal(errorCode, `${what} is not JSON: ${(error as Error).message}.`, error);
  }
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, child]) => child !== null)
      .map(([key, child]) => [key, withoutNulls(child)]),
  );
}
