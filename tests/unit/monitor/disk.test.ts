import { statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createServiceMetrics } from "../../../src/monitor/metrics.ts";

const freeShareOf = async (predictionsFolder: string): Promise<string | undefined> => {
  const text = await createServiceMetrics({ queueDepth: () => 0, predictionsFolder }).render();
  return /^serval_predictions_disk_free_share (\S+)$/m.exec(text)?.[1];
};

test("the metrics have the free share of the disk where predictions lie", async () => {
  const { bavail, blocks } = await statfs(tmpdir());
  // Others write to the same disk meanwhile.
  expect(Number(await freeShareOf(tmpdir()))).toBeCloseTo(bavail / blocks, 1);
});

test("while the folder is not there, the gauge has no value, and the other metrics do", async () => {
  expect(await freeShareOf(join(tmpdir(), "serval-is-not-there"))).toBeUndefined();
});
