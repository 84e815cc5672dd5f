import { excerpt } from "./printable.ts";
import { isPublicHost } from "./public-address.ts";

/**
 * Where an answer may send a request on to, other than within the same origin. `same-origin`: nowhere. `public`: hosts on the
 * public internet, as download sites do. A POST or PUT is never repeated at another address.
 */
export type Redirects = "same-origin" | "public";

export interface HttpBounds {
  /** From the request to the end of the answer's headers, in milliseconds. */
  readonly answerMs: number;
  /** From the request to the last byte, in milliseconds. Not bounded by default: then a body must keep its pace. */
  readonly totalMs?: number;
  /** A body that brings fewer than 256 bytes a second, measured over this many milliseconds, has failed. */
  readonly paceMs?: number;
  /** Bytes of an answer's body that are read, after it was unpacked. */
  readonly maxBytes: number;
  readonly redirects?: Redirects;
}

/** An answer, whatever its status. What `use` does not read is not received. */
export interface HttpAnswer {
  readonly status: number;
  readonly ok: boolean;
  readonly headers: Headers;
  readonly body: AsyncIterable<Uint8Array>;
  /** The body as UTF-8; only its beginning, of some `length` bytes, where one is given. */
  readonly text: (length?: number) => Promise<string>;
}

/** `redirect`: the answer points to an address that is not asked. `timeout`, `too-large`: a bound was passed. `broken`: anything that the network did. */
export type HttpProblem = "redirect" | "timeout" | "too-large" | "broken";

/** Why there is no answer; each client has its own error code for it. */
export class HttpFailure extends Error {
  readonly problem: HttpProblem;

  constructor(problem: HttpProblem, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "HttpFailure";
    this.problem = problem;
  }
}

const mostRedirects = 5;
const leastBytesPerSecond = 256;

/**
 * Sends one request and gives `use` the answer. Every way in which a server can keep a client busy is bounded: headers and
 * bodies without end, silence, slow drips, redirects in a circle. Throws HttpFailure, what `use` throws, and the reason of `signal`.
 */
export async function request<Result>(
  url: string,
  init: Pick<RequestInit, "method" | "headers" | "body">,
  bounds: HttpBounds,
  use: (answer: HttpAnswer) => Promise<Result>,
  signal?: AbortSignal,
): Promise<Result> {
  const ended = new AbortController();
  const expire = (what: string) => (): void => ended.abort(new HttpFailure("timeout", what));
  const total =
    bounds.totalMs === undefined ? undefined : setTimeout(expire(`no complete answer within ${bounds.totalMs} ms`), bounds.totalMs);
  const head = setTimeout(expire(`no answer within ${bounds.answerMs} ms`), bounds.answerMs);
  try {
    const response = await follow(url, init, bounds, AbortSignal.any([ended.signal, ...(signal ? [signal] : [])]));
    clearTimeout(head);
    return await use(toAnswer(response, bounds, ended));
  } catch (error) {
    signal?.throwIfAborted();
    // A request that was aborted may say so in its own words.
    throw ended.signal.reason instanceof HttpFailure ? ended.signal.reason : error;
  } finally {
    clearTimeout(head);
    clearTimeout(total);
    // A body that was not read to its end would hold its connection.
    ended.abort();
  }
}

async function follow(url: string, init: RequestInit, bounds: HttpBounds, signal: AbortSignal): Promise<Response> {
  let at = new URL(url);
  for (let followed = 0; ; followed++) {
    const response = await fetch(at.href, { ...init, redirect: "manual", signal }).catch(failAsBroken);
    const location = response.headers.get("location");
    if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return response;
    const to = URL.parse(location, at.href);
    const shown = describeAddress(to, location);
    if (!["GET", "HEAD"].includes(init.method ?? "GET")) throw new HttpFailure("redirect", `a redirect to ${shown}, which is not followed`);
    if (followed === mostRedirects) throw new HttpFailure("redirect", `more than ${mostRedirects} redirects, at last to ${shown}`);
    if (to === null || !(await mayFollow(at, to, bounds.redirects ?? "same-origin"))) {
      throw new HttpFailure("redirect", `a redirect to ${shown}, which is not followed`);
    }
    // Headers may hold a key. Only a download site sends on to other hosts, and it is sent none.
    at = to;
  }
}

/** Without what may be secret: a password, a signed query. */
function describeAddress(to: URL | null, location: string): string {
  return excerpt(to === null ? location : `${to.protocol}//${to.host}${to.pathname}`, 100);
}

async function mayFollow(from: URL, to: URL, redirects: Redirects): Promise<boolean> {
  if (!/^https?:$/.test(to.protocol) || to.username !== "" || to.password !== "") return false;
  if (to.origin === from.origin) return true;
  const upgraded = from.protocol === "http:" && to.protocol === "https:";
  if (upgraded && to.hostname === from.hostname && from.port === "" && to.port === "") return true;
  return redirects === "public" && (upgraded || to.protocol === from.protocol) && (await isPublicHost(to.hostname));
}

function toAnswer(response: Response, bounds: HttpBounds, ended: AbortController): HttpAnswer {
  const body = keepBounds(response.body, bounds, ended);
  return {
    status: response.status,
    ok: response.ok,
    headers: response.headers,
    body,
    async text(length = Number.POSITIVE_INFINITY) {
      const chunks: Uint8Array[] = [];
      let bytes = 0;
      for await (const chunk of body) {
        chunks.push(chunk);
        bytes += chunk.byteLength;
        if (bytes >= length) break;
      }
      return Buffer.concat(chunks).toString("utf8");
    },
  };
}

/** The chunks of a body as they arrive. */
async function* keepBounds(
  body: ReadableStream<Uint8Array> | null,
  { maxBytes, paceMs }: HttpBounds,
  ended: AbortController,
): AsyncGenerator<Uint8Array> {
  let [bytes, bytesBefore] = [0, 0];
  const least = ((paceMs ?? 0) / 1000) * leastBytesPerSecond;
  const look = (): void => {
    if (bytes - bytesBefore < least) ended.abort(new HttpFailure("timeout", `only ${bytes - bytesBefore} bytes within ${paceMs} ms`));
    bytesBefore = bytes;
  };
  const timer = paceMs === undefined ? undefined : setInterval(look, paceMs);
  try {
    for await (const chunk of body ?? []) {
      bytes += chunk.byteLength;
      if (bytes > maxBytes) throw new HttpFailure("too-large", `a body of more than ${maxBytes} bytes`);
      yield chunk;
    }
  } catch (error) {
    failAsBroken(error);
  } finally {
    clearInterval(timer);
  }
}

/** fetch says only "fetch failed", or "terminated": what happened is in its cause. */
function failAsBroken(error: unknown): never {
  if (error instanceof HttpFailure) throw error;
  const { message, cause } = error as Error;
  const { code, message: deeper } = (cause ?? {}) as NodeJS.ErrnoException;
  throw new HttpFailure("broken", deeper || (code ?? message), error);
}
