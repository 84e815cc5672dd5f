import type { SmokeCheck } from "../../../deploy/checks/smoke.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import { smokeService } from "../../../workflows/service/smoke-service.ts";
import type { Configure } from "../../command.ts";
import { parseAmount } from "../../options/parse-amount.ts";

const defaultMaxLatencyMs = 1000;

export const configure: Configure = (command, context) => {
  command
    .argument("<URL>", "address of the service, such as http://127.0.0.1:8000")
    .option("--wait <SECONDS>", "seconds to wait for the service to become healthy", "0")
    .option("--image <FILE>", "image to send (default: a few drawn squares)")
    .option("--max-latency <MS>", "longest median time of a prediction", String(defaultMaxLatencyMs))
    .option("--json", "print the result as JSON")
    .action(async (url: string, options: { wait: string; image?: string; maxLatency: string; json?: boolean }) => {
      const output = context.output(options);
      const waitSeconds = parseAmount("--wait", options.wait);
      const maxLatencyMs = parseAmount("--max-latency", options.maxLatency);
      const onCheck = (check: SmokeCheck): void => output.line(describeCheck(check));
      const { image } = options;
      const report = await smokeService({ cwd: context.cwd, url, waitSeconds, maxLatencyMs, image, onCheck, signal: context.signal });
      const failed = report.checks.filter(({ passed }) => !passed).map(({ name }) => name);
      output.result(report, `${report.url}: ${report.checks.length - failed.length} passed, ${failed.length} failed`);
      if (failed.length > 0) throw new ServalError("E_SMOKE", `${report.url} does not work: ${failed.join(", ")}.`);
    });
};

function describeCheck({ name, passed, message, durationMs }: SmokeCheck): string {
  return `${passed ? "ok  " : "FAIL"}  ${name.padEnd(13)}  ${message} (${durationMs} ms)`;
}
