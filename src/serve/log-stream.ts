import { createWriteStream, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { LogStream } from "./app.ts";

export interface ServiceLog extends LogStream {
  close(): Promise<void>;
}

/**
 * Writes log lines to `output` and, with `file`, to the end of that file as well. A file that cannot be written (disk
 * full, no permission) is reported once through `warn` and given up: a service does not stop over its log.
 */
export function openServiceLog(output: LogStream, file: string | null, warn: (message: string) => void): ServiceLog {
  if (file === null) return { write: (line) => output.write(line), close: async () => undefined };
  let broken = false;
  const fail = (error: unknown): void => {
    if (!broken) warn(`The log file ${file} cannot be written, so it is left out: ${(error as Error).message}`);
    broken = true;
  };
  try {
    mkdirSync(dirname(file), { recursive: true });
  } catch (error) {
    fail(error);
  }
  const stream = broken ? undefined : createWriteStream(file, { flags: "a" }).on("error", fail);
  return {
    write(line) {
      output.write(line);
      if (!broken) stream?.write(line);
    },
    async close() {
      if (stream === undefined || broken) return;
      await new Promise<void>((resolve) => {
        stream.once("close", resolve);
        stream.end();
      });
    },
  };
}
