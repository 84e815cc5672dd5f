import { ServalError, toServalError } from "../../errors/serval-error.ts";

/** MLflow's error codes that this server answers with, and the status that goes with each (mlflow/exceptions.py). */
const statuses = {
  INVALID_PARAMETER_VALUE: 400,
  RESOURCE_ALREADY_EXISTS: 400,
  BAD_REQUEST: 400,
  RESOURCE_DOES_NOT_EXIST: 404,
  ENDPOINT_NOT_FOUND: 404,
  UNSUPPORTED_MEDIA_TYPE: 415,
  INVALID_STATE: 500,
  INTERNAL_ERROR: 500,
  NOT_IMPLEMENTED: 501,
  TEMPORARILY_UNAVAILABLE: 503,
  RESOURCE_EXHAUSTED: 507,
} as const;

export type RefusalCode = keyof typeof statuses;

/** Messages name what the client sent; they must not send all of it back. */
const longestMessage = 1000;

/** What the client reads in `details.errorCode`, the server writes there: one error for both ends of the protocol. */
export function refusal(errorCode: RefusalCode, message: string, cause?: unknown, status: number = statuses[errorCode]): ServalError {
  const details = { errorCode, status };
  return new ServalError("E_TRACKING_REFUSED", clip(message, longestMessage), { details, ...(cause === undefined ? {} : { cause }) });
}

/** The start of a text in quotes, for a message that continues after it. */
export function quote(text: string): string {
  return JSON.stringify(clip(text));
}

export function clip(text: string, limit = 200): string {
  return text.length > limit ? `${text.slice(0, limit)}…` : text;
}

export const invalid = (message: string): ServalError => refusal("INVALID_PARAMETER_VALUE", message);
/** For what will not fit later either, so that clients do not send it again: 413 instead of the 507 of a full disk. */
export const tooLarge = (message: string): ServalError => refusal("RESOURCE_EXHAUSTED", message, undefined, 413);
export const missing = (message: string): ServalError => refusal("RESOURCE_DOES_NOT_EXIST", message);

export interface ProtocolError {
  readonly status: number;
  readonly body: { readonly error_code: RefusalCode; readonly message: string };
}

const sqliteFull = 13;

/**
 * An error in MLflow's shape. A full disk is 507, which MLflow has no code for and its client does not try again seven
 * times; what was not foreseen says nothing about the inside.
 */
export function toProtocolError(error: unknown): ProtocolError {
  if (error instanceof ServalError && error.details["errorCode"] !== undefined) {
    const { errorCode, status } = error.details as { errorCode: RefusalCode; status: number };
    return { status, body: { error_code: errorCode, message: error.message } };
  }
  if ((error as { errcode?: number }).errcode === sqliteFull || toServalError(error).code === "E_DISK_FULL") {
    const message =
      "The tracking server has no room left on its disk. Nothing of this request was kept; free some space and send it again.";
    return { status: statuses.RESOURCE_EXHAUSTED, body: { error_code: "RESOURCE_EXHAUSTED", message } };
  }
  if (error instanceof ServalError && (error.code === "E_QUEUE_FULL" || error.code === "E_JOB_STOPPED"))
    return { status: statuses.TEMPORARILY_UNAVAILABLE, body: { error_code: "TEMPORARILY_UNAVAILABLE", message: error.message } };
  return { status: 500, body: { error_code: "INTERNAL_ERROR", message: "The tracking server failed; its log says why." } };
}
