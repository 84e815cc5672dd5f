import { extname } from "node:path";
import { JobThread } from "../threads/job-thread.ts";
import type { Chart } from "./chart.ts";

/** Charts are bounded in size: the largest takes a second on a machine that has nothing else to do. */
const deadlineMs = 120_000;
const waitingLimit = 16;
const heapMb = 512;

/** Draws charts in a thread, so that the caller hears signals meanwhile. */
export class ChartThread {
  readonly #thread = new JobThread<Chart, string>({
    // Runs from the sources and from the emitted JavaScript alike.
    file: new URL(`./chart-worker${extname(import.meta.url)}`, import.meta.url),
    name: "serval-charts",
    deadlineMs,
    waitingLimit,
    heapMb,
  });

  /** What `chartSvg` returns. Throws the signal's reason, and E_JOB_STOPPED. */
  async svg(chart: Chart, signal?: AbortSignal): Promise<string> {
    return await this.#thread.run(chart, { ...(signal && { signal }) });
  }

  close(): void {
    this.#thread.close();
  }
}
