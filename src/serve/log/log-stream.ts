import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { LogStream } from "../http/app.ts";
import { logRotation, openRotatingFile } from "./rotating-file.ts";

export interface ServiceLog extends LogStream {
  close(): Promise<void>;
}

/** How long a file that cannot be written is left alone. */
const retryMs = 10_000;

/**
 * Writes log lines to `output` and, with `file`, to the end of that file as well; a new file begins when it is large. A
 * service does not stop over its log: lines that cannot be written are left out, and `warn` says so. An `output` that has
 * failed (the reader of a pipe has gone) is not tried again; the file is, from time to time, because a disk that was full
 * gets room again.
 */
export function openServiceLog(
  output: NodeJS.WritableStream,
  file: string | null,
  warn: (message: string) => void,
  retryAfterMs: number = retryMs,
): ServiceLog {
  let writesOutput = true;
  output.on("error", (error: Error) => {
    if (writesOutput) warn(`The log cannot be written to stdout any more, so it is left out: ${error.message}.`);
    writesOutput = false;
  });
  const kept = file === null ? undefined : openKeptFile(file, warn, retryAfterMs);
  return {
    write(line) {
      if (writesOutput) output.write(line);
      kept?.write(line);
    },
    close: async () => await kept?.close(),
  };
}

/** A log file that is opened again after it could not be written. */
function openKeptFile(file: string, warn: (message: string) => void, retryAfterMs: number): ServiceLog {
  let stream: NodeJS.WritableStream | undefined;
  let failedAt: number | undefined;
  const failed = (error: Error): void => {
    stream = undefined;
    if (failedAt === undefined) warn(`The log cannot be written to ${file}, so it is left out until it can: ${error.message}.`);
    failedAt = performance.now();
  };
  const open = (): NodeJS.WritableStream | undefined => {
    try {
      mkdirSync(dirname(file), { recursive: true });
    } catch (error) {
      failed(error as Error);
      return undefined;
    }
    const opened = openRotatingFile(file, logRotation);
    opened.once("error", failed);
    return opened;
  };
  stream = open();
  return {
    write(line) {
      if (stream === undefined && performance.now() - (failedAt ?? 0) >= retryAfterMs) stream = open();
      stream?.write(line, (error) => {
        if (error || failedAt === undefined) return;
        failedAt = undefined;
        warn(`The log is written to ${file} again.`);
      });
    },
    async close() {
      const last = stream;
      if (last === undefined) return;
      await new Promise<void>((resolve) => {
        last.once("close", () => resolve());
        last.end();
      });
    },
  };
}
