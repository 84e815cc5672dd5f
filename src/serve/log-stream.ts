import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { LogStream } from "./app.ts";
import { logRotation, openRotatingFile } from "./rotating-file.ts";

export interface ServiceLog extends LogStream {
  close(): Promise<void>;
}

/**
 * Writes log lines to `output` and, with `file`, to the end of that file as well, which begins anew when it is large. One that cannot be written any more
 * (disk full, no permission, the reader of a pipe has gone) is reported once through `warn` and left out: a service does
 * not stop over its log.
 */
export function openServiceLog(output: NodeJS.WritableStream, file: string | null, warn: (message: string) => void): ServiceLog {
  const streams = new Map<NodeJS.WritableStream, string>();
  const add = (stream: NodeJS.WritableStream, name: string): void => {
    streams.set(stream, name);
    stream.on("error", (error: Error) => {
      if (streams.delete(stream)) warn(`The log cannot be written to ${name} any more, so it is left out: ${error.message}.`);
    });
  };
  add(output, "stdout");
  const fileStream = file === null ? undefined : openFile(file, warn);
  if (fileStream && file !== null) add(fileStream, file);
  return {
    write(line) {
      for (const stream of streams.keys()) stream.write(line);
    },
    async close() {
      if (!fileStream || !streams.has(fileStream)) return;
      await new Promise<void>((resolve) => {
        fileStream.once("close", () => resolve());
        fileStream.end();
      });
    },
  };
}

function openFile(file: string, warn: (message: string) => void): NodeJS.WritableStream | undefined {
  try {
    mkdirSync(dirname(file), { recursive: true });
  } catch (error) {
    warn(`The folder of the log file ${file} cannot be made, so there is none: ${(error as Error).message}.`);
    return undefined;
  }
  return openRotatingFile(file, logRotation);
}
