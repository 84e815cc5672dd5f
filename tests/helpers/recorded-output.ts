import { createOutput } from "../../src/cli/output.ts";
import type { CommandContext } from "../../src/cli/command.ts";

/** A stream that keeps what is written to it. */
export class RecordedStream {
  text = "";
  isTTY = false;
  columns = 100;

  write(chunk: string): boolean {
    this.text += chunk;
    return true;
  }
}

export interface RecordedContext extends CommandContext {
  readonly stdout: RecordedStream;
  readonly stderr: RecordedStream;
}

/** A command's context in `cwd` whose output can be read afterwards. */
export function recordedContext(cwd: string, signal: AbortSignal = new AbortController().signal): RecordedContext {
  const stdout = new RecordedStream();
  const stderr = new RecordedStream();
  const streams = { stdout: stdout as unknown as NodeJS.WritableStream, stderr: stderr as unknown as NodeJS.WritableStream };
  return { cwd, signal, stdout, stderr, output: (options) => createOutput({ ...streams, json: options?.json ?? false }) };
}
