import { ServalError } from "../../errors/serval-error.ts";
import { HttpFailure, request, type HttpAnswer, type HttpBounds } from "../../http/client.ts";
import { excerpt } from "../../http/printable.ts";
import { readFields, type Fields } from "./fields.ts";

export interface ConnectionOptions {
  /** How long one request may take, in milliseconds. */
  readonly requestTimeoutMs?: number;
  /**
   * How long a server may send next to nothing while it sends a file, in milliseconds. How much of a file it has taken cannot be
   * seen, so one that is sent may take this long and, for its size, as long as a line of half a megabit a second needs.
   */
  readonly fileTimeoutMs?: number;
}

/** Bytes a millisecond: half a megabit a second. */
const slowestUpload = 64;
/** A page of 25,000 points of a metric has some 3 MB. */
const mostAnswerBytes = 32 * 2 ** 20;
const mostRefusalBytes = 64 * 2 ** 10;

/** How requests reach one server, and how its refusals become errors. */
export interface Connection {
  /** The server's address without credentials. */
  readonly server: string;
  /**
   * Calls an endpoint of the REST API 2.0, such as `runs/create`, and lets `read` take the answer apart. Throws
   * E_TRACKING_UNREACHABLE, or E_TRACKING_REFUSED, also for an answer of another shape.
   */
  readonly call: <Answer>(
    method: CallMethod,
    name: string,
    content: object,
    read: (answer: Fields) => Answer,
    signal?: AbortSignal,
  ) => Promise<Answer>;
  /** Sends a file to, or asks for one from, a path below the server's address. */
  readonly transfer: <Result>(path: string, options: TransferOptions<Result>, signal?: AbortSignal) => Promise<Result>;
}

export interface TransferOptions<Result> {
  /** What is sent, with PUT; without it the path is asked for with GET. */
  readonly body?: Blob;
  /** Of the answer. */
  readonly maxBytes: number;
  readonly use: (answer: HttpAnswer) => Promise<Result>;
}

type CallMethod = "GET" | "POST" | "PATCH" | "DELETE";

/** A connection to the server at `uri`; the address may contain user and password. Throws E_ENV for an address that is not http(s). */
export function connect(uri: string, options: ConnectionOptions = {}): Connection {
  const { requestTimeoutMs = 10_000, fileTimeoutMs = 60_000 } = options;
  const { server, authorization, secrets } = parseServer(uri);

  const send = async <Result>(
    method: string,
    path: string,
    init: RequestInit,
    bounds: HttpBounds,
    use: (answer: HttpAnswer) => Promise<Result>,
    signal: AbortSignal | undefined,
  ): Promise<Result> => {
    const headers = { ...(init.headers as Record<string, string>), ...(authorization && { authorization }) };
    const what = `${method} ${path.replace(/\?.*/, "")}`;
    const useOrRefuse = async (answer: HttpAnswer): Promise<Result> => {
      if (answer.ok) return await use(answer);
      throw await refusal(server, what, answer, secrets);
    };
    try {
      return await request(`${server}${path}`, { ...init, method, headers }, bounds, useOrRefuse, signal);
    } catch (error) {
      if (error instanceof HttpFailure) throw failure(server, what, error);
      if (!["AbortError", "TimeoutError"].includes((error as Error).name)) throw error;
      throw new ServalError("E_TRACKING_UNREACHABLE", `${server} does not answer: no answer in time.`, { cause: error });
    }
  };

  return {
    server,
    async call<Answer>(
      method: CallMethod,
      name: string,
      content: object,
      read: (answer: Fields) => Answer,
      signal?: AbortSignal,
    ): Promise<Answer> {
      const query = method === "GET" ? `?${new URLSearchParams(content as Record<string, string>).toString()}` : "";
      const init = method === "GET" ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(content) };
      const path = `/api/2.0/mlflow/${name}`;
      const bounds = { answerMs: requestTimeoutMs, totalMs: requestTimeoutMs, maxBytes: mostAnswerBytes };
      const text = await send(method, `${path}${query}`, init, bounds, async (answer) => await answer.text(), signal);
      return read(readFields(text, `${server} answered ${path}`));
    },
    async transfer<Result>(path: string, { body, maxBytes, use }: TransferOptions<Result>, signal?: AbortSignal): Promise<Result> {
      const bounds = { answerMs: fileTimeoutMs + (body?.size ?? 0) / slowestUpload, paceMs: fileTimeoutMs, maxBytes };
      return await send(body === undefined ? "GET" : "PUT", path, body === undefined ? {} : { body }, bounds, use, signal);
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

function parseServer(uri: string): { server: string; authorization: string | undefined; secrets: readonly string[] } {
  const url = URL.parse(uri);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new ServalError("E_ENV", `MLFLOW_TRACKING_URI: expected the http(s) address of an MLflow server, got ${JSON.stringify(uri)}.`);
  }
  const [user = "", password = ""] = [url.username, url.password].map(decodeURIComponent);
  const server = `${url.origin}${url.pathname}`.replace(/(?<!\/)\/+$/, "");
  if (user === "" && password === "") return { server, authorization: undefined, secrets: [] };
  const encoded = Buffer.from(`${user}:${password}`).toString("base64");
  return { server, authorization: `Basic ${encoded}`, secrets: [encoded, password] };
}

function failure(server: string, what: string, error: HttpFailure): ServalError {
  const options = { cause: error };
  switch (error.problem) {
    case "redirect":
      return new ServalError("E_TRACKING_REFUSED", `${server} answered ${what} with ${error.message}.`, {
        ...options,
        hint: "Set MLFLOW_TRACKING_URI to the address where the server really is, if you trust that one.",
      });
    case "too-large":
      return new ServalError("E_TRACKING_REFUSED", `${server} answered ${what} with ${error.message}.`, options);
    default:
      return new ServalError("E_TRACKING_UNREACHABLE", `${server} does not answer: ${error.message}.`, options);
  }
}

async function refusal(server: string, what: string, answer: HttpAnswer, secrets: readonly string[]): Promise<ServalError> {
  const { status } = answer;
  const text = await answer.text(mostRefusalBytes);
  let said = text;
  let errorCode: string | undefined;
  try {
    const { error_code: code, message } = (JSON.parse(text) ?? {}) as { error_code?: unknown; message?: unknown };
    if (typeof code === "string") errorCode = code;
    if (typeof message === "string") said = message;
  } catch {
    // A proxy in between answers with its own page.
  }
  const short = excerpt(said, 300, secrets);
  const message = `${server} answered ${what} with ${status}${short === "" ? "" : `: ${short}`}`;
  const later = status >= 500 || status === 429 || status === 408;
  return new ServalError(later ? "E_TRACKING_UNREACHABLE" : "E_TRACKING_REFUSED", message, { details: { status, errorCode } });
}
