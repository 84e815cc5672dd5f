import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import type { Bundle } from "./bundle.ts";

/** Encoded image -> probabilities [K], by the bundle's preprocessing and model. */
export type Predict = (image: Uint8Array) => Promise<Float32Array>;

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

/** Reads the bundle's known-answer images: path inside the bundle -> bytes. */
export async function readCheckImages(bundle: Bundle): Promise<ReadonlyMap<string, Uint8Array>> {
  return new Map(
    await Promise.all(bundle.manifest.checks.map(async ({ file }) => [file, await readFile(join(bundle.dir, file))] as const)),
  );
}

/** Asks about the bundle's known-answer images. */
export async function runChecks(bundle: Bundle, predict: Predict, images?: ReadonlyMap<string, Uint8Array>): Promise<CheckResult[]> {
  const { checks, labels } = bundle.manifest;
  const pictures = images ?? (await readCheckImages(bundle));
  return await Promise.all(
    checks.map(async ({ file, probabilities: expected, tolerance }) => {
      const probabilities = await predict(pictures.get(file) ?? new Uint8Array());
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
