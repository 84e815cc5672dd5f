import { ServalError, toServalError, type ErrorCode } from "../errors/serval-error.ts";

/** An error on its way to another thread or process: cloning alone would leave a plain Error without code, hint and details. */
export interface SentError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
  readonly details: ServalError["details"];
  /** Where it was thrown, on the other side. */
  readonly stack: string | undefined;
  readonly cause: SentCause | undefined;
}

type SentCause =
  | { readonly kind: "serval"; readonly error: SentError }
  /** The clone of an Error has its message and stack, and no other field: Node's `code` and `errno` travel beside it. */
  | {
      readonly kind: "error";
      readonly error: Error;
      readonly fields: Readonly<Record<string, unknown>>;
      readonly cause: SentCause | undefined;
    }
  | { readonly kind: "value"; readonly value: unknown };

/** Anything that was thrown, as plain data. */
export function packError(thrown: unknown): SentError {
  const error = toServalError(thrown);
  const { code, message, hint, details, stack } = error;
  return { code, message, hint, details, stack, cause: packCause(error.cause) };
}

/** The same without what may not be cloneable. */
export function packPlainError(thrown: unknown): SentError {
  return { ...packError(thrown), details: {}, cause: undefined };
}

/** The error of the other side, with the stack that it had there. */
export function unpackError({ code, message, hint, details, stack, cause }: SentError): ServalError {
  const error = new ServalError(code, message, { hint, details, cause: cause && unpackCause(cause) });
  if (stack !== undefined) error.stack = stack;
  return error;
}

function packCause(cause: unknown): SentCause | undefined {
  if (cause === undefined) return undefined;
  if (cause instanceof ServalError) return { kind: "serval", error: packError(cause) };
  if (!(cause instanceof Error)) return { kind: "value", value: cause };
  const fields = Object.fromEntries(Object.entries(cause).filter(([, value]) => value === null || typeof value !== "object"));
  return { kind: "error", error: cause, fields, cause: packCause(cause.cause) };
}

function unpackCause(sent: SentCause): unknown {
  if (sent.kind === "serval") return unpackError(sent.error);
  if (sent.kind === "value") return sent.value;
  return Object.assign(sent.error, sent.fields, sent.cause && { cause: unpackCause(sent.cause) });
}
