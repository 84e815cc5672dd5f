import { setTimeout as delay } from "node:timers/promises";
import { ServalError } from "../../errors/serval-error.ts";
import { HttpFailure, request, type HttpAnswer } from "../../http/client.ts";
import { excerpt } from "../../http/printable.ts";

/** Asks a service and gives its answer, whatever that is. Throws E_SMOKE where there is none. */
export type Ask = (path: string, init?: RequestInit) => Promise<Reply>;

export interface Reply {
  readonly status: number;
  readonly type: string;
  readonly text: string;
  /** The JSON object in the text; empty where there is none. */
  readonly json: Fields;
  /** From the question to the end of the answer, without what was waited before it might be asked. */
  readonly durationMs: number;
}

export type Fields = Readonly<Record<string, unknown>>;

export interface AskOptions {
  /** Where the service requires one. */
  readonly apiKey?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

const requestTimeoutMs = 10_000;
/** The description of the API has some 100 kB. */
const mostAnswerBytes = 16 * 2 ** 20;
/** A service with SERVAL_RATE_LIMIT counts by the minute. */
const mostWaitMs = 60_000;
const leastWaitMs = 100;
/** 24x16 pixels in 24 colours, as PNG. */
const drawnPng =
  "iVBORw0KGgoAAAANSUhEUgAAABgAAAAQCAMAAAA7+k+nAAAASFBMVEXcjIC0UICMUIBkUIA8jIAUjIDcUIC0jICMjIBkjIA8UIAUUIDcFIC0FICMFIBkFIA8FIAUFIDcyIC0yICMyIBkyIA8yIAUyICX6N4c" +
  "AAAACXBIWXMAAAPoAAAD6AG1e1JrAAAAOklEQVQY063JRwGAMBAAsLI3ZePfKcHD5Zu0s5FZWZhJgTExUlFS0BIZDTUDPR3pFxgvDzcXJweB8QE8RBFB4guCewAAAABJRU5ErkJggg==";

/**
 * Asks the service at `url`. One that answers 429 is asked again after the seconds in its Retry-After, for as long as that is a
 * minute in all.
 */
export function createAsk(url: string, { apiKey, signal }: AskOptions): Ask {
  const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  let patienceMs = mostWaitMs;
  return async (path, init = {}) => {
    for (;;) {
      const { retryAfter, ...reply } = await ask(`${url}${path}`, { ...init, headers }, apiKey, signal);
      const waitMs = Math.max(leastWaitMs, 1000 * Number(retryAfter ?? Number.NaN));
      // A Retry-After that is not a number, or missing, gives NaN.
      if (reply.status !== 429 || !(waitMs <= patienceMs)) return reply;
      patienceMs -= waitMs;
      await delay(waitMs, undefined, signal ? { signal } : {});
    }
  };
}

async function ask(
  url: string,
  init: RequestInit,
  apiKey: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Reply & { readonly retryAfter: string | null }> {
  const startedAt = performance.now();
  const bounds = { answerMs: requestTimeoutMs, totalMs: requestTimeoutMs, maxBytes: mostAnswerBytes };
  const use = async ({ status, headers, text }: HttpAnswer): Promise<Reply & { readonly retryAfter: string | null }> => {
    const whole = await text();
    // A service may say what it was sent, and what it says is printed.
    const said = apiKey === undefined ? whole : whole.replaceAll(apiKey, "***");
    const durationMs = performance.now() - startedAt;
    const [type, retryAfter] = [headers.get("content-type") ?? "", headers.get("retry-after")];
    return { status, type, text: said, json: parseFields(said), durationMs, retryAfter };
  };
  try {
    return await request(url, init, bounds, use, signal);
  } catch (error) {
    if (!(error instanceof HttpFailure)) throw error;
    throw new ServalError("E_SMOKE", `${init.method ?? "GET"} ${new URL(url).pathname}: ${error.message}`, { cause: error });
  }
}

/** The JSON object in `text`; empty where there is none. */
function parseFields(text: string): Fields {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Fields) : {};
  } catch {
    return {};
  }
}

/** Throws E_SMOKE with what the service answered in place of `expected`. */
export function expectStatus(what: string, { status, json, text }: Reply, expected: number): void {
  if (status === expected) return;
  const { code, message } = (json["error"] ?? {}) as Fields;
  const said = excerpt(typeof message === "string" ? message : text, 120);
  throw new ServalError("E_SMOKE", `${what}: expected ${expected}, got ${status}${typeof code === "string" ? ` ${code}` : ""}: ${said}`);
}

/** A picture that every service can be asked about. */
export function drawnPicture(): Uint8Array {
  return Buffer.from(drawnPng, "base64");
}

/** A request to /predict with an image file. */
export function uploadPicture(bytes: Uint8Array, name: string): RequestInit {
  const form = new FormData();
  form.append("file", new Blob([new Uint8Array(bytes)]), name);
  return { method: "POST", body: form };
}
