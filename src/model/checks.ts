import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ServalError } from "../errors.ts";
import { preprocessImage, type ImageLimits } from "../image/preprocess.ts";
import type { Bundle } from "./bundle.ts";

/** Whatever can run the bundle's model: images uint8 [count,H,W,3] -> probabilities [count,K]. */
export interface ModelRunner {
  run(images: Uint8Array, count: number): Promise<{ readonly probabilities: Float32Array }>;
}

export interface CheckResult {
  /** Path inside the bundle. */
  readonly file: string;
  readonly expected: readonly number[];
  readonly got: readonly number[];
  /** Largest difference of one probability; NaN where the model gave no number. */
  readonly difference: number;
  readonly tolerance: number;
  readonly passed: boolean;
}

// Check images are part of the bundle and were hashed when it was loaded.
const limits: ImageLimits = { maxBytes: 16 * 1024 * 1024, maxPixels: 16_000_000 };

/** Reads the bundle's known-answer images: path inside the bundle -> bytes. */
export async function readCheckImages(bundle: Bundle): Promise<ReadonlyMap<string, Uint8Array>> {
  return new Map(
    await Promise.all(bundle.manifest.checks.map(async ({ file }) => [file, await readFile(join(bundle.dir, file))] as const)),
  );
}

/** Runs the bundle's known-answer images through preprocessing and the model. */
export async function runChecks(bundle: Bundle, model: ModelRunner, images?: ReadonlyMap<string, Uint8Array>): Promise<CheckResult[]> {
  const { checks, labels, preprocess } = bundle.manifest;
  const pictures = images ?? (await readCheckImages(bundle));
  return await Promise.all(
    checks.map(async ({ file, probabilities: expected, tolerance }) => {
      const pixels = await preprocessImage(pictures.get(file) ?? new Uint8Array(), preprocess, limits);
      const { probabilities } = await model.run(pixels, 1);
      if (probabilities.length !== labels.length) {
        throw new ServalError(
          "E_BUNDLE_CORRUPT",
          `${bundle.dir}: the model answers with ${probabilities.length} probabilities for ${labels.length} labels.`,
        );
      }
      const got = [...probabilities];
      const difference = Math.max(...got.map((p, k) => Math.abs(p - (expected[k] ?? 0))));
      return { file, expected, got, difference, tolerance, passed: difference <= tolerance };
    }),
  );
}

/** Throws E_BUNDLE_CHECKS, which names each check that failed. */
export function assertChecks(bundle: Bundle, results: readonly CheckResult[]): void {
  const failed = results.filter(({ passed }) => !passed);
  if (failed.length === 0) return;
  const list = failed.map(
    ({ file, expected, got, difference, tolerance }) =>
      `${file}: expected ${format(expected)}, got ${format(got)} (off by ${difference.toPrecision(3)}, allowed ${tolerance})`,
  );
  throw new ServalError("E_BUNDLE_CHECKS", `${bundle.dir}: ${failed.length} of ${results.length} checks failed. ${list.join("; ")}.`);
}

function format(probabilities: readonly number[]): string {
  return `[${probabilities.map((p) => p.toFixed(4)).join(", ")}]`;
}
