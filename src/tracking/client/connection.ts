import { ServalError } from "../../errors.ts";

/** A parameter or tag as the REST API writes it: a pair in a list, because keys may hold any text. */
export interface KeyValue {
  readonly key: string;
  readonly value: string;
}

export interface ConnectionOptions {
  /** How long one request may take, in milliseconds. */
  readonly requestTimeoutMs?: number;
  /**
   * How long a server may be silent while it sends a file, in milliseconds. How much of a file it has taken cannot be seen, so
   * one that is sent may take this long and, for its size, as long as a line of half a megabit a second needs.
   */
  readonly fileTimeoutMs?: number;
}

/** Bytes a millisecond: half a megabit a second. */
const slowestUpload = 64;

/** How requests reach one server, and how its refusals become errors. */
export interface Connection {
  /** The server's address without credentials. */
  readonly server: string;
  /** Calls an endpoint of the REST API 2.0, such as `runs/create`. Throws E_TRACKING_UNREACHABLE or E_TRACKING_REFUSED. */
  readonly call: <Answer>(method: CallMethod, name: string, content: object, signal?: AbortSignal) => Promise<Answer>;
  /** Sends a file to, or asks for one from, a path below the server's address. `use` must read the answer's body. */
  readonly transfer: <Result>(
    method: "GET" | "PUT",
    path: string,
    body: Blob | undefined,
    use: (response: Response) => Promise<Result>,
    signal?: AbortSignal,
  ) => Promise<Result>;
}

type CallMethod = "GET" | "POST" | "PATCH" | "DELETE";

/** A connection to the server at `uri`; user and password may stand in the address. Throws E_ENV for an address that is not http(s). */
export function connect(uri: string, options: ConnectionOptions = {}): Connection {
  const { requestTimeoutMs = 10_000, fileTimeoutMs = 60_000 } = options;
  const { server, authorization } = parseServer(uri);

  const send = async <Result>(
    method: string,
    path: string,
    init: RequestInit,
    limit: AbortSignal,
    use: (response: Response) => Promise<Result>,
    signal: AbortSignal | undefined,
  ): Promise<Result> => {
    const signals = [limit, ...(signal ? [signal] : [])];
    let refused: { status: number; text: string };
    try {
      const response = await fetch(`${server}${path}`, {
        ...init,
        method,
        headers: { ...(init.headers as Record<string, string>), ...(authorization && { authorization }) },
        signal: AbortSignal.any(signals),
      });
      if (response.ok) return await use(response);
      refused = { status: response.status, text: await response.text() };
    } catch (error) {
      if (error instanceof ServalError || (error as NodeJS.ErrnoException).syscall === "write") throw error;
      throw new ServalError("E_TRACKING_UNREACHABLE", `${server} does not answer: ${reasonOf(error)}.`, { cause: error });
    }
    throw refusal(server, `${method} ${path.replace(/\?.*/, "")}`, refused.status, refused.text);
  };

  return {
    server,
    async call<Answer>(method: CallMethod, name: string, content: object, signal?: AbortSignal): Promise<Answer> {
      const query = method === "GET" ? `?${new URLSearchParams(content as Record<string, string>).toString()}` : "";
      const init = method === "GET" ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(content) };
      const path = `/api/2.0/mlflow/${name}`;
      const limit = AbortSignal.timeout(requestTimeoutMs);
      const text = await send(method, `${path}${query}`, init, limit, async (response) => await response.text(), signal);
      try {
        return JSON.parse(text) as Answer;
      } catch (error) {
        const message = `${server} answered ${path} with something that is not JSON: ${JSON.stringify(text.slice(0, 80))}.`;
        throw new ServalError("E_TRACKING_REFUSED", message, {
          cause: error,
          hint: "Is MLFLOW_TRACKING_URI the address of an MLflow server?",
        });
      }
    },
    async transfer<Result>(
      method: "GET" | "PUT",
      path: string,
      body: Blob | undefined,
      use: (response: Response) => Promise<Result>,
      signal?: AbortSignal,
    ): Promise<Result> {
      const silence = new AbortController();
      const expire = (): void => silence.abort(new DOMException("", "TimeoutError"));
      let quiet = setTimeout(expire, fileTimeoutMs + (body?.size ?? 0) / slowestUpload);
      const heard = (): void => {
        clearTimeout(quiet);
        quiet = setTimeout(expire, fileTimeoutMs);
      };
      const useAsItComes = async (response: Response): Promise<Result> => {
        heard();
        const noticed = new TransformStream<Uint8Array, Uint8Array>({
          transform(chunk, controller) {
            heard();
            controller.enqueue(chunk);
          },
        });
        return await use(new Response(response.body?.pipeThrough(noticed) ?? null, response));
      };
      try {
        return await send(method, path, body === undefined ? {} : { body }, silence.signal, useAsItComes, signal);
      } finally {
        clearTimeout(quiet);
      }
    },
  };
}

/** True for a refusal with MLflow's `errorCode`. */
export function isRefusal(error: unknown, errorCode: string): boolean {
  return error instanceof ServalError && error.details["errorCode"] === errorCode;
}

/** True where the server does not know the endpoint at all: an older MLflow. Its answer then is a page, without an error code. */
export function isUnknownEndpoint(error: unknown): boolean {
  if (!(error instanceof ServalError) || error.details["status"] !== 404) return false;
  return error.details["errorCode"] === undefined || error.details["errorCode"] === "ENDPOINT_NOT_FOUND";
}

function parseServer(uri: string): { server: string; authorization: string | undefined } {
  const url = URL.parse(uri);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new ServalError("E_ENV", `MLFLOW_TRACKING_URI: expected the http(s) address of an MLflow server, got ${JSON.stringify(uri)}.`);
  }
  const credentials = [url.username, url.password].map(decodeURIComponent).join(":");
  return {
    server: `${url.origin}${url.pathname}`.replace(/(?<!\/)\/+$/, ""),
    authorization: credentials === ":" ? undefined : `Basic ${Buffer.from(credentials).toString("base64")}`,
  };
}

/** fetch says only "fetch failed"; what happened stands in its cause. */
function reasonOf(error: unknown): string {
  const { name, message, cause } = error as Error;
  if (name === "TimeoutError" || name === "AbortError") return "no answer in time";
  const { code, message: deeper } = (cause ?? {}) as NodeJS.ErrnoException;
  return code ?? (deeper || message);
}

function refusal(server: string, request: string, status: number, text: string): ServalError {
  let details: { error_code?: string; message?: string } = {};
  try {
    details = JSON.parse(text) as typeof details;
  } catch {
    // A proxy in between answers with a page of its own.
  }
  const said = (details.message ?? text).replaceAll(/\s+/g, " ").trim().slice(0, 300);
  const message = `${server} answered ${request} with ${status}${said === "" ? "" : `: ${said}`}`;
  const later = status >= 500 || status === 429 || status === 408;
  return new ServalError(later ? "E_TRACKING_UNREACHABLE" : "E_TRACKING_REFUSED", message, {
    details: { status, errorCode: details.error_code },
  });
}
