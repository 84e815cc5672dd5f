import { cpus, freemem, totalmem } from "node:os";

/** Busy and total time of all cores since the machine started, in milliseconds. */
function cpuTimes(): { readonly busy: number; readonly total: number } {
  let [busy, total] = [0, 0];
  for (const { times } of cpus()) {
    const all = times.user + times.nice + times.sys + times.idle + times.irq;
    busy += all - times.idle;
    total += all;
  }
  return { busy, total };
}

const bytesPerMegabyte = 1e6;

/**
 * Samples the machine every `everyMs` and once more at the end. The names are those of MLflow's own client
 * (https://mlflow.org/docs/latest/ml/tracking/system-metrics/), so that its pages show them; the step counts the samples.
 */
export function startSystemMetrics(everyMs: number, onSample: (metrics: Record<string, number>, step: number) => void): () => void {
  let before = cpuTimes();
  let step = 0;
  const sample = (): void => {
    const now = cpuTimes();
    const elapsed = now.total - before.total;
    const used = totalmem() - freemem();
    onSample(
      {
        "system/cpu_utilization_percentage": elapsed === 0 ? 0 : (100 * (now.busy - before.busy)) / elapsed,
        "system/system_memory_usage_megabytes": used / bytesPerMegabyte,
        "system/system_memory_usage_percentage": (100 * used) / totalmem(),
        "system/process_memory_usage_megabytes": process.memoryUsage.rss() / bytesPerMegabyte,
      },
      step++,
    );
    before = now;
  };
  const timer = setInterval(sample, everyMs).unref();
  return () => {
    clearInterval(timer);
    sample();
  };
}
