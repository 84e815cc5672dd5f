import { ServalError, toServalError } from "../../errors.ts";

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
  RESOURCE_EXHAUSTED: 507,
} as const;

export type RefusalCode = keyof typeof statuses;

/** What the client reads in `details.errorCode`, the server writes there: one error for both ends of the protocol. */
export function refusal(errorCode: RefusalCode, message: string, cause?: unknown): ServalError {
  return new ServalError("E_TRACKING_REFUSED", message, { details: { errorCode }, ...(cause === undefined ? {} : { cause }) });
}

export const invalid = (message: string): ServalError => refusal("INVALID_PARAMETER_VALUE", message);
export const missing = (message: string): ServalError => refusal("RESOURCE_DOES_NOT_EXIST", message);

export interface ProtocolError {
  readonly status: number;
  readonly body: { readonly error_code: RefusalCode; readonly message: string };
}

const sqliteFull = 13;

/**
 * An error in MLflow's shape. A full disk is 507, which MLflow has no code for and its client does not try again seven
 * times; what nobody foresaw says nothing about the inside.
 */
export function toProtocolError(error: unknown): ProtocolError {
  const code = error instanceof ServalError ? (error.details["errorCode"] as RefusalCode | undefined) : undefined;
  if (code !== undefined) return { status: statuses[code], body: { error_code: code, message: (error as ServalError).message } };
  if ((error as { errcode?: number }).errcode === sqliteFull || toServalError(error).code === "E_DISK_FULL") {
    const message =
      "The tracking server has no room left on its disk. Nothing of this request was kept; free some space and send it again.";
    return { status: statuses.RESOURCE_EXHAUSTED, body: { error_code: "RESOURCE_EXHAUSTED", message } };
  }
  return { status: 500, body: { error_code: "INTERNAL_ERROR", message: "The tracking server failed; its log says why." } };
}
