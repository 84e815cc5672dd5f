import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { LogStream } from "../http/app.ts";
import { logRotation, RotatingFile } from "./rotating-file.ts";

/** How long a file that cannot be written is left alone. */
const retryMs = 10_000;

type Warn = (message: string) => void;

/**
 * Writes log lines to `output` and, with `file`, to the end of that file as well; a new file begins when it is large. A
 * service does not stop over its log: lines that cannot be written are left out, and `warn` says so. An `output` that has
 * failed (the reader of a pipe has gone) is not tried again; the file is, from time to time, because a disk that was full
 * gets room again.
 */
export class ServiceLog implements LogStream {
  readonly #output: NodeJS.WritableStream;
  readonly #file: LogFile | undefined;
  #writesOutput = true;

  constructor(output: NodeJS.WritableStream, file: string | null, warn: Warn, retryAfterMs: number = retryMs) {
    this.#output = output;
    output.on("error", (error: Error) => {
      if (this.#writesOutput) warn(`The log cannot be written to stdout any more, so it is left out: ${error.message}.`);
      this.#writesOutput = false;
    });
    this.#file = file === null ? undefined : new LogFile(file, warn, retryAfterMs);
  }

  write(line: string): void {
    if (this.#writesOutput) this.#output.write(line);
    this.#file?.write(line);
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}

/** A log file that is opened again after it could not be written. */
class LogFile {
  readonly #path: string;
  readonly #warn: Warn;
  readonly #retryAfterMs: number;
  #stream: RotatingFile | undefined;
  #failedAt: number | undefined;

  constructor(path: string, warn: Warn, retryAfterMs: number) {
    this.#path = path;
    this.#warn = warn;
    this.#retryAfterMs = retryAfterMs;
    this.#stream = this.#open();
  }

  write(line: string): void {
    if (this.#stream === undefined && performance.now() - (this.#failedAt ?? 0) >= this.#retryAfterMs) this.#stream = this.#open();
    this.#stream?.write(line, (error) => {
      if (error || this.#failedAt === undefined) return;
      this.#failedAt = undefined;
      this.#warn(`The log is written to ${this.#path} again.`);
    });
  }

  async close(): Promise<void> {
    const last = this.#stream;
    if (last === undefined) return;
    await new Promise<void>((resolve) => {
      last.once("close", () => resolve());
      last.end();
    });
  }

  #open(): RotatingFile | undefined {
    try {
      mkdirSync(dirname(this.#path), { recursive: true });
    } catch (error) {
      this.#fail(error as Error);
      return undefined;
    }
    const opened = new RotatingFile(this.#path, logRotation);
    opened.once("error", (error) => this.#fail(error));
    return opened;
  }

  #fail(error: Error): void {
    this.#stream = undefined;
    if (this.#failedAt === undefined) {
      this.#warn(`The log cannot be written to ${this.#path}, so it is left out until it can: ${error.message}.`);
    }
    this.#failedAt = performance.now();
  }
}
