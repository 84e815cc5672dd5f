import { printable } from "../http/printable.ts";
import { formatDuration } from "../workflows/format-duration.ts";
import type { Progress, Reporter } from "../workflows/reporter.ts";

/** What a command prints. Names and texts may come from files and servers: control characters are shown, not sent to the terminal. Results go to stdout, progress and remarks to stderr, so that `--json` output can be piped. */
export interface Output extends Reporter {
  /** A line for people, on stdout; nothing with --json. */
  line(text?: string): void;
  /** A remark on stderr, shown with --json as well. */
  warn(text: string): void;
  /** The result: one JSON document on stdout with --json, else the text. */
  result(data: unknown, text: string): void;
  /** A progress bar on a terminal; on a pipe, a line at most every ten seconds. */
  progress(label: string, total: number, unit?: string): Progress;
}

const pipeIntervalMs = 10_000;
const terminalIntervalMs = 80;

export interface OutputOptions {
  readonly json?: boolean;
  readonly stdout?: NodeJS.WritableStream;
  readonly stderr?: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
}

export function createOutput(options: OutputOptions = {}): Output {
  const json = options.json ?? false;
  const stdout = options.stdout ?? process.stdout;
  const stderr = options.stderr ?? process.stderr;
  const terminal = stderr.isTTY === true;
  return {
    line: (text = "") => void (json || stdout.write(`${printable(text)}\n`)),
    warn: (text) => void stderr.write(`${printable(text)}\n`),
    result: (data, text) => void stdout.write(`${printable(json ? JSON.stringify(data, null, 2) : text)}\n`),
    progress(label, total, unit = "") {
      const startedAt = performance.now();
      let drawnAt = terminal ? -Infinity : startedAt;
      return {
        update(done, note = "") {
          const now = performance.now();
          if (now - drawnAt < (terminal ? terminalIntervalMs : pipeIntervalMs) && !(terminal && done >= total)) return;
          drawnAt = now;
          const elapsed = (now - startedAt) / 1000;
          const rate = done / Math.max(elapsed, 1e-9);
          const fraction = total > 0 ? Math.min(1, done / total) : 0;
          const left = done > 0 && total > 0 ? `${formatDuration((total - done) / rate)} left` : "";
          const speed = unit ? `${rate < 10 ? rate.toFixed(1) : Math.round(rate)} ${unit}/s` : "";
          const facts = [total > 0 ? `${done}/${total}` : String(done), speed, note, left].filter(Boolean).join("  ");
          if (!terminal) {
            const share = total > 0 ? `${Math.floor(fraction * 100)}%  ` : "";
            stderr.write(`${printable(label)}  ${share}${printable(facts)}\n`);
            return;
          }
          const width = 24;
          const filled = Math.round(fraction * width);
          const bar = "█".repeat(filled) + "░".repeat(width - filled);
          const text = printable(`${label} ${bar} ${facts}`);
          stderr.write(`\r\x1b[2K${text.slice(0, (stderr.columns ?? 100) - 1)}`);
        },
        end(text) {
          if (terminal) stderr.write("\r\x1b[2K");
          if (text !== undefined && text !== "") stderr.write(`${printable(text)}\n`);
        },
      };
    },
  };
}
