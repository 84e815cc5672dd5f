import os from "node:os";

export interface Samples {
  readonly median: number;
  readonly p95: number;
  readonly count: number;
}

/** Median and 95th percentile (nearest rank) of measured values. */
export function summarize(values: readonly number[]): Samples {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
  return { median: rank(0.5), p95: rank(0.95), count: sorted.length };
}

/** What the figures of a benchmark were taken on. */
export function describeMachine(): Readonly<Record<string, unknown>> {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model.trim() ?? "unknown",
    cores: os.availableParallelism(),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    node: process.version,
    load: Number((os.loadavg()[0] ?? 0).toFixed(2)),
  };
}

/** Prints the table of a benchmark for people, and as the last line one JSON object with the same figures. */
export function printReport(title: string, head: readonly string[], rows: readonly (readonly string[])[], data: object): void {
  const machine = describeMachine();
  console.log(
    `\n${title}\n${Object.entries(machine)
      .map(([key, value]) => `${key} ${String(value)}`)
      .join(", ")}\n`,
  );
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]?.length ?? 0)));
  for (const row of [head, ...rows])
    console.log(row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  "));
  console.log(`\n${JSON.stringify({ machine, ...data })}`);
}
