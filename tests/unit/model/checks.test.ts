import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { preprocessImage } from "../../../src/image/preprocess-image.ts";
import type { Bundle } from "../../../src/model/bundle.ts";
import { assertChecks, runChecks, type Predict } from "../../../src/model/checks.ts";
import { startInference, type Inference } from "../../../src/runtime/inference.ts";
import { tinyModel, writeTinyBundle } from "../../helpers/tiny-bundle.ts";

let root: string;
const open: Inference[] = [];
beforeAll(async () => void (root = await mkdtemp(join(tmpdir(), "serval-checks-"))));
afterAll(async () => {
  await Promise.all(open.map(async (inference) => await inference.close()));
  await rm(root, { recursive: true });
});

/** A bundle's preprocessing with a model, its own or another. */
async function start({ manifest }: Bundle, model: Uint8Array): Promise<Predict> {
  const inference = await startInference(model, { imageShape: [12, 16], threads: 1 });
  open.push(inference);
  const limits = { maxBytes: 1e6, maxPixels: 1e6 };
  return async (image) => (await inference.run(await preprocessImage(image, manifest.preprocess, limits), 1)).probabilities;
}

it("passes when the model still gives the answers that the bundle was written with", async () => {
  const bundle = await writeTinyBundle(join(root, "right"), { labels: ["blue", "green", "red"] });
  const results = await runChecks(bundle, await start(bundle, bundle.model));
  expect(results.map(({ file, passed }) => [file, passed])).toEqual([
    ["checks/blue.jpg", true],
    ["checks/green.jpg", true],
    ["checks/red.jpg", true],
  ]);
  expect(results[0]!.difference).toBeLessThan(1e-6);
  expect(results[0]!.got[0]).toBeGreaterThan(0.8);
  expect(() => assertChecks(bundle, results)).not.toThrow();
});

it("fails and names the picture when the answers differ by more than the tolerance", async () => {
  const bundle = await writeTinyBundle(join(root, "other-model"));
  const results = await runChecks(bundle, await start(bundle, tinyModel({ sharpness: 2 })));
  expect(results.map(({ passed }) => passed)).toEqual([false, false]);
  expect(() => assertChecks(bundle, results)).toThrow(
    /2 of 2 checks failed\. checks\/blue\.jpg: expected \[0\.9\d+, 0\.0\d+\], got \[0\.[78]\d+/,
  );
});

it("fails where the pictures are prepared in another way than in training", async () => {
  const bundle = await writeTinyBundle(join(root, "other-crop"));
  const { manifest } = bundle;
  const changed = {
    ...bundle,
    manifest: { ...manifest, preprocess: { ...manifest.preprocess, kernel: "nearest" as const, width: 40, height: 30 } },
  };
  const strict = { ...changed, manifest: { ...changed.manifest, checks: manifest.checks.map((check) => ({ ...check, tolerance: 1e-7 })) } };
  const results = await runChecks(strict, await start(strict, bundle.model));
  expect(results.some(({ passed }) => !passed)).toBe(true);
});

it("refuses a model that answers for another number of classes than the bundle has labels", async () => {
  const bundle = await writeTinyBundle(join(root, "other-classes"));
  const error = await runChecks(bundle, await start(bundle, tinyModel({ labels: ["blue", "green", "red"] }))).catch(
    (reason: unknown) => reason,
  );
  expect((error as ServalError).code).toBe("E_BUNDLE_CORRUPT");
  expect((error as ServalError).message).toContain("3 probabilities for 2 labels");
});

it("does not pass a model that answers with something that is not a number", async () => {
  const bundle = await writeTinyBundle(join(root, "not-a-number"));
  const results = await runChecks(bundle, await start(bundle, tinyModel({ sharpness: Number.NaN })));
  expect(results.map(({ passed }) => passed)).toEqual([false, false]);
});
