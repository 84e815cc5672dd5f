import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { apiKey } from "../../../config/env.ts";
import { runSmoke, type SmokeCheck, type SmokeReport } from "../../../deploy/checks/smoke.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import type { Configure } from "../../command.ts";
import type { Output } from "../../output.ts";
import { parseAmount } from "../../parse-amount.ts";

export interface SmokeCommandOptions {
  /** The working repository. */
  readonly cwd: string;
  readonly url: string;
  /** Seconds. */
  readonly wait: number;
  /** Milliseconds. */
  readonly maxLatency: number;
  /** Image file, relative to `cwd`. */
  readonly image?: string | undefined;
}

const defaultMaxLatencyMs = 1000;

export const configure: Configure = (command, context) => {
  command
    .argument("<URL>", "address of the service, such as http://127.0.0.1:8000")
    .option("--wait <SECONDS>", "wait so long for the service to become healthy", "0")
    .option("--image <FILE>", "image to ask about (default: a few drawn squares)")
    .option("--max-latency <MS>", "longest median time of a prediction", String(defaultMaxLatencyMs))
    .option("--json", "print the result as JSON")
    .action(async (url: string, options: { wait: string; image?: string; maxLatency: string; json?: boolean }) => {
      const wait = parseAmount("--wait", options.wait);
      const maxLatency = parseAmount("--max-latency", options.maxLatency);
      await smoke({ cwd: context.cwd, url, wait, maxLatency, image: options.image }, context.output(options), context.signal);
    });
};

/** Prints a line for each check. Throws E_SMOKE when one failed, after the result. */
export async function smoke(options: SmokeCommandOptions, output: Output, signal?: AbortSignal): Promise<SmokeReport> {
  const picture = options.image === undefined ? undefined : await readFile(resolve(options.cwd, options.image));
  const report = await runSmoke({
    url: options.url,
    ...(picture ? { picture } : {}),
    waitMs: options.wait * 1000,
    maxLatencyMs: options.maxLatency,
    apiKey: apiKey(),
    signal,
    onCheck: (check) => output.line(describeCheck(check)),
  });
  const failed = report.checks.filter(({ passed }) => !passed).map(({ name }) => name);
  output.result(report, `${report.url}: ${report.checks.length - failed.length} passed, ${failed.length} failed`);
  if (failed.length > 0) throw new ServalError("E_SMOKE", `${report.url} does not work: ${failed.join(", ")}.`);
  return report;
}

function describeCheck({ name, passed, message, durationMs }: SmokeCheck): string {
  return `${passed ? "ok  " : "FAIL"}  ${name.padEnd(13)}  ${message} (${durationMs} ms)`;
}
