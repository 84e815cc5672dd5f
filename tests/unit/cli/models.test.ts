import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runCli } from "../../../src/cli/main.ts";
import { loadBundle } from "../../../src/model/bundle.ts";
import { parseSafetensors } from "../../../src/model/safetensors.ts";
import { computeMetrics } from "../../../src/evaluate/metrics.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";
import { tinyModel, writeTinyBundle } from "../../helpers/tiny-bundle.ts";

let cwd: string;
beforeEach(async () => void (cwd = await mkdtemp(join(tmpdir(), "serval-models-"))));
afterEach(async () => await rm(cwd, { recursive: true }));

async function serval(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const context = recordedContext(cwd);
  const code = await runCli(args, context);
  return { code, stdout: context.stdout.text, stderr: context.stderr.text };
}

const uncarded = "  Its card has no figures on the test split: `serval evaluate`, then release it again.";

describe("serval models release", () => {
  test("copies the trained bundle to models/, where it is the model that everything takes", async () => {
    const trained = await writeTinyBundle(join(cwd, "artifacts", "best"));
    const version = trained.digest.slice(0, 12);
    const first = await serval("models", "release");
    expect([first.code, first.stdout]).toEqual([0, `Released version ${version} as models/colours; 2 checks passed.\n${uncarded}\n`]);
    expect((await loadBundle(join(cwd, "models", "colours"))).digest).toBe(trained.digest);
    expect((await serval("models", "release")).stdout).toBe(`models/colours is version ${version} already.\n${uncarded}\n`);
    expect((await serval("models", "show")).stdout).toContain(`colours, version ${version}, in models/colours`);
  });

  test("replaces an earlier release, under another name too", async () => {
    await writeTinyBundle(join(cwd, "artifacts", "best"));
    await serval("models", "release", "--name", "live");
    const better = await writeTinyBundle(join(cwd, "artifacts", "best"), { sharpness: 8 });
    const { code, stdout } = await serval("models", "release", "--name", "live", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      released: "live",
      dir: "models/live",
      version: better.digest.slice(0, 12),
      checks: 2,
      evaluated: false,
      changed: true,
    });
    expect((await loadBundle(join(cwd, "models", "live"))).digest).toBe(better.digest);
  });

  test("puts the figures on the test split and what a person saw into the card, without making another version of it", async () => {
    const card = "# colours\n\n## Figures on the test split\n\nNot measured yet.\n\n## Limits\n\n- Some.\n";
    const trained = await writeTinyBundle(join(cwd, "artifacts", "best"));
    await writeFile(join(trained.dir, "README.md"), card);
    await serval("models", "release");
    const evaluate = async (split: string, digest: string): Promise<void> => {
      const metrics = computeMetrics(["blue", "red"], [0, 1], Float32Array.of(1, 0, 0, 1));
      const document = { model: { name: "colours", digest }, data: { version: "0".repeat(64), split }, ...metrics };
      await mkdir(join(cwd, "artifacts", "evaluation"), { recursive: true });
      await writeFile(join(cwd, "artifacts", "evaluation", "metrics.json"), JSON.stringify(document));
    };
    const released = async (): Promise<string> => await readFile(join(cwd, "models", "colours", "README.md"), "utf8");
    // Neither another split nor another model.
    await evaluate("val", trained.digest);
    expect((await serval("models", "release")).stdout).toContain(uncarded);
    await evaluate("test", "0".repeat(64));
    expect((await serval("models", "release")).stdout).toContain(uncarded);
    expect(await released()).toBe(card);
    await evaluate("test", trained.digest);
    await writeFile(join(cwd, "seen.md"), "Purple is told as red.\n");
    const { code, stdout } = await serval("models", "release", "--known-failures", "seen.md");
    expect([code, stdout]).toEqual([0, `Released version ${trained.digest.slice(0, 12)} as models/colours; 2 checks passed.\n`]);
    expect(await released()).toContain("| accuracy (2 images) | 100.00 % |");
    expect(await released()).toContain("## Known failures\n\nPurple is told as red.\n\n## Limits\n");
    expect((await loadBundle(join(cwd, "models", "colours"))).digest).toBe(trained.digest);
    // Its card comes with it by way of the registry as well.
    await serval("models", "register", "artifacts/best");
    await serval("models", "release", "models:/colours/1", "--name", "fetched", "--known-failures", "seen.md");
    expect(await readFile(join(cwd, "models", "fetched", "README.md"), "utf8")).toBe(await released());
    const missing = await serval("models", "release", "--known-failures", "nowhere.md");
    expect([missing.code, missing.stderr]).toEqual([2, expect.stringContaining("nowhere.md cannot be read") as string]);
  });

  test("does not release a model that misses its known answers, and leaves the earlier release", async () => {
    await writeTinyBundle(join(cwd, "artifacts", "best"));
    await serval("models", "release");
    const before = await loadBundle(join(cwd, "models", "colours"));
    const wrong = before.manifest.checks.map((check) => ({ ...check, probabilities: check.probabilities.toReversed() }));
    await writeTinyBundle(join(cwd, "artifacts", "best"), { manifest: { checks: wrong } });
    const { code, stderr } = await serval("models", "release");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^E_BUNDLE_CHECKS: .*2 of 2 checks failed/);
    expect((await loadBundle(join(cwd, "models", "colours"))).digest).toBe(before.digest);
  });

  test("does not release what has no checks, or under a name that is a path", async () => {
    await writeTinyBundle(join(cwd, "artifacts", "best"), { manifest: { checks: [] } });
    expect((await serval("models", "release")).stderr).toContain("has no check images");
    for (const name of ["../x", "A", ".x", ""]) expect((await serval("models", "release", "--name", name)).code).toBe(2);
  });
});

describe("serval models list and show", () => {
  test("lists what is released, and a damaged bundle with its error", async () => {
    expect((await serval("models", "list")).stdout).toContain("No model is released.");
    const metrics = { accuracy: 0.975, count: 1240 };
    const good = await writeTinyBundle(join(cwd, "models", "good"), { labels: ["blue", "green", "red"], manifest: { metrics } });
    await writeTinyBundle(join(cwd, "models", "bad"));
    await truncate(join(cwd, "models", "bad", "model.onnx"), 9);
    const lines = (await serval("models", "list")).stdout.split("\n");
    expect(lines[0]).toMatch(/^bad {3}E_BUNDLE_CORRUPT: .*model\.onnx \(9 bytes\)/);
    expect(lines[1]).toBe(`good  ${good.digest.slice(0, 12)}  3 classes  accuracy 0.9750 on 1,240 validation pictures`);
    const rows = JSON.parse((await serval("models", "list", "--json")).stdout) as { released: string; labels?: string[] }[];
    expect(rows.map(({ released, labels }) => [released, labels])).toEqual([
      ["bad", undefined],
      ["good", ["blue", "green", "red"]],
    ]);
  });

  test("shows the manifest and where the model comes from", async () => {
    const bundle = await writeTinyBundle(join(cwd, "models", "good"));
    const { stdout } = await serval("models", "show", "good");
    for (const text of [
      "labels     blue, red",
      "input      20x16 squash lanczos3, centre 16x12",
      "metrics    accuracy 0.9750",
      "abstains   never: no confidence was shown to be high enough",
      "run        test",
    ]) {
      expect(stdout).toContain(text);
    }
    await writeTinyBundle(join(cwd, "models", "cautious"), { manifest: { abstainBelow: 0.8132 } });
    expect((await serval("models", "show", "cautious")).stdout).toContain("abstains   below a confidence of 0.8132\n");
    const shown = JSON.parse((await serval("models", "show", "good", "--json")).stdout) as Record<string, unknown>;
    expect(shown).toEqual({
      version: bundle.digest.slice(0, 12),
      digest: bundle.digest,
      manifest: bundle.manifest,
      provenance: { createdAt: "2026-01-01T00:00:00Z", run: "test" },
    });
  });
});

describe("serval export", () => {
  test("writes the model as ONNX and its weights as safetensors", async () => {
    await writeTinyBundle(join(cwd, "models", "good"));
    expect((await serval("export", "--format", "onnx")).stdout).toMatch(
      /^Wrote colours\.onnx \(\d\.\d\d MB\), model colours version [0-9a-f]{12}\.\n$/,
    );
    expect((await readFile(join(cwd, "colours.onnx"))).equals(Buffer.from(tinyModel()))).toBe(true);
    await serval("export", "--format", "safetensors", "--out", "out/w.safetensors");
    const { tensors } = parseSafetensors(await readFile(join(cwd, "out", "w.safetensors")));
    expect(Object.entries(tensors).map(([name, { shape }]) => [name, shape])).toEqual([
      ["conv.weight", [2, 3, 1, 1]],
      ["fc.weight", [2, 2]],
    ]);
  });

  test("refuses a damaged bundle, an unknown format and no format", async () => {
    await writeTinyBundle(join(cwd, "models", "good"));
    await truncate(join(cwd, "models", "good", "weights.safetensors"), 9);
    expect((await serval("export", "--format", "onnx")).stderr).toMatch(/^E_BUNDLE_CORRUPT: .*weights\.safetensors/);
    expect((await serval("export", "--format", "pt")).code).toBe(2);
    expect((await serval("export")).code).toBe(2);
  });
});
