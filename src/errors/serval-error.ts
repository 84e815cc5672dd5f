import { ERRORS, type ErrorCode } from "./error-table.ts";

export type { ErrorCode } from "./error-table.ts";

export interface ServalErrorOptions {
  /** Replaces the table's hint where the place that throws knows a better next step. */
  readonly hint?: string;
  readonly cause?: unknown;
  /** Facts for machines: paths, counts, limits. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The only error class. `message` says what, where, got and expected; `hint` says the next step. */
export class ServalError extends Error {
  override readonly name = "ServalError";
  readonly code: ErrorCode;
  readonly hint: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ServalErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint ?? ERRORS[code].hint;
    this.details = options.details ?? {};
  }
}

/** Gives any thrown value the shape of a ServalError; what we did not foresee becomes E_INTERNAL with its cause kept. */
export function toServalError(error: unknown): ServalError {
  if (error instanceof ServalError) return error;
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  const message = error instanceof Error ? error.message : String(error);
  // EFBIG: the process may not write files this large (ulimit -f); for the person at the keyboard that is the same.
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") return new ServalError("E_DISK_FULL", message, { cause: error });
  if (code === "ENOENT") return new ServalError("E_FILE_NOT_FOUND", message, { cause: error });
  return new ServalError("E_INTERNAL", message, { cause: error });
}
