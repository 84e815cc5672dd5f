import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { fitFeatureSpace } from "../../src/export/fit-feature-space.ts";
import { featureSpaceFile, placeInSpace, readFeatureSpace, type FeatureSpace } from "../../src/model/feature-space.ts";
import { Random } from "../../src/random.ts";
import { python } from "./python.ts";

const channels = 512;

/** As features are: none below 0, most near it; some rows show what all of them share more than others. */
function features(count: number, random: Random): Float32Array {
  const row = (): number[] => {
    const strength = 3 * random.uniform();
    return Array.from({ length: channels }, (_, c) => Math.max(0, random.normal() + strength * Math.sin(c)));
  };
  return Float32Array.from(Array.from({ length: count }, row).flat());
}

test("a bundle's outlier score is that of pytorch-ood's nearest neighbours", async () => {
  const dir = await mkdtemp(join(tmpdir(), "serval-outliers-"));
  onTestFinished(async () => await rm(dir, { recursive: true, force: true }));
  const random = new Random(3);
  const [training, validation] = [features(300, random), features(80, random)];
  const fitted = fitFeatureSpace({ channels, pooling: "mean", training, validation });
  await writeFile(join(dir, featureSpaceFile), fitted!.file);
  const manifest = { labels: ["a", "b"], ...fitted!.manifest };
  const space = (await readFeatureSpace({ dir, manifest } as unknown as Parameters<typeof readFeatureSpace>[0])) as FeatureSpace;
  const own = Array.from(
    { length: 80 },
    (_, r) => placeInSpace(space, validation.subarray(r * channels, (r + 1) * channels)).outlierScore!,
  );

  await writeFile(join(dir, "training.bin"), new Uint8Array(training.buffer));
  await writeFile(join(dir, "rows.bin"), new Uint8Array(validation.buffer));
  const args = [join(import.meta.dirname, "outliers_peer.py"), join(dir, "training.bin"), join(dir, "rows.bin"), String(channels)];
  const { stdout } = await promisify(execFile)(python, [...args, String(space.outliers!.k)]);
  const theirs = JSON.parse(stdout) as number[];
  expect(Math.max(...own.map((score, r) => Math.abs(score - theirs[r]!)))).toBeLessThan(1e-4);
  // So that equal numbers mean something.
  expect(Math.max(...own) - Math.min(...own)).toBeGreaterThan(0.1);
});
