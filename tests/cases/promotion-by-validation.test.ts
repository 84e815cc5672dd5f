import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runCli } from "../../src/cli/main.ts";
import { ingest } from "../../src/data/ingest.ts";
import { prepareShards, type PrepareOptions } from "../../src/data/prepare.ts";
import { readShardIndex, type ShardIndex } from "../../src/data/shard-index.ts";
import { openFolder } from "../../src/data/sources/folder.ts";
import type { PromotionReport } from "../../src/workflows/registry/promote-model.ts";
import { makeColourRepository, shadedPicture, type ColourRepository } from "../helpers/colour-repository.ts";
import { recordedContext } from "../helpers/recorded-output.ts";
import { writeTinyBundle, type TinyOptions } from "../helpers/tiny-bundle.ts";

const prepare = { shares: { train: 0.4, val: 0.3, test: 0.3 } } as const;
let repository: ColourRepository;
let index: ShardIndex;
beforeEach(async () => {
  repository = await makeColourRepository({ counts: { blue: 20, red: 20 }, prepare });
  index = await readShardIndex(join(repository.cwd, "data", "processed"));
});
afterEach(async () => await repository.remove());

async function serval(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const context = recordedContext(repository.cwd);
  const code = await runCli(args, context);
  return { code, stdout: context.stdout.text, stderr: context.stderr.text };
}

/** A bundle as a training on the prepared data leaves it, wrong about the first `wrong` validation pictures by its own account. */
async function train(options: TinyOptions & { readonly wrong: number; readonly keep?: boolean }): Promise<void> {
  const { wrong, keep = true, ...tiny } = options;
  const { dataVersion, seed, shares, dedupe, labels } = index;
  const { rows } = index.splits.val;
  const lines = rows.map(([sha256, label], i) => {
    const other = labels.find((one) => one !== label);
    return `${JSON.stringify({ sha256, label, predicted: i < wrong ? other : label })}\n`;
  });
  await writeTinyBundle(join(repository.cwd, "trained"), {
    ...tiny,
    manifest: {
      dataVersion,
      split: { seed, shares, dedupe },
      metrics: { accuracy: (rows.length - wrong) / rows.length, count: rows.length },
      ...tiny.manifest,
    },
    ...(keep && { validation: lines.join("") }),
  });
  expect((await serval("models", "register", "trained")).stderr).toBe("");
}

async function promote(...args: string[]): Promise<PromotionReport & { readonly stderr: string }> {
  const { stdout, stderr } = await serval("models", "promote", "colours", "--json", ...args);
  return { ...(JSON.parse(stdout === "" ? "{}" : stdout) as PromotionReport), stderr };
}

/** Prepares the data once more, in another way or with other pictures. */
async function prepareAgain(options: Partial<PrepareOptions>): Promise<void> {
  const rawDir = join(repository.cwd, "data", "raw");
  const size = { width: 20, height: 16, fit: "squash", kernel: "lanczos3", orient: true, seed: 42, dedupe: true, ...prepare } as const;
  await prepareShards({ rawDir, outDir: join(repository.cwd, "data", "processed"), ...size, ...options });
}

/** Mean colour times this: a model that answers always right here, one that never does. */
const [right, mistaken] = [6, -6];

describe("serval models promote", () => {
  test("decides by what the models said about the validation pictures in their training, whatever they say about the test split", async () => {
    await train({ wrong: 3, sharpness: right });
    await promote();
    // Better in validation, and wrong about every test picture.
    await train({ wrong: 1, sharpness: mistaken });
    await serval("evaluate", "--model", "models:/colours/2");
    const report = await promote();
    expect(report).toMatchObject({
      version: "2",
      promoted: true,
      comparedOn: "validation",
      comparison: { images: index.splits.val.rows.length, onlyChampionRight: 0, onlyChallengerRight: 2 },
      test: { champion: null, challenger: { accuracy: 0, count: index.splits.test.rows.length } },
      remarks: [],
    });
    expect(report.stderr).toBe("");
    await serval("evaluate", "--model", "models:/colours/1");
    expect((await serval("models", "show", "models:/colours", "--json")).stdout).toContain('\\"comparedOn\\":\\"validation\\"');
    const back = await serval("models", "promote", "colours/1");
    expect(back.stderr).toContain("E_PROMOTION_REFUSED: Version 1 of colours was not promoted: its accuracy is ");
    expect(back.stdout).toContain("On the validation split, which decides:\n");
    const images = index.splits.test.rows.length;
    expect(back.stdout).toContain(
      `On the test split, which decides nothing: champion 0.00 % of ${images} images, challenger 100.00 % of ${images} images.`,
    );
  });

  test("evaluates a champion that has no validation predictions on the validation split first, and says so; the second time they are there", async () => {
    await train({ wrong: 0, sharpness: right, keep: false });
    await promote();
    await train({ wrong: 1, sharpness: 5 });
    const line = "Version 1 of colours has no validation predictions yet: evaluating it on the validation split first.";
    const first = await promote();
    expect(first.stderr).toContain(line);
    expect(first).toMatchObject({ promoted: false, comparison: { championAccuracy: 1, onlyChampionRight: 1 }, test: null });
    const second = await promote();
    expect(second.stderr).not.toContain(line);
    expect(second.comparison).toEqual(first.comparison);
    // The test split was not looked at.
    await expect(readFile(join(repository.cwd, ".serval", "accuracy.md"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("does not believe predictions that disagree with what is sealed in the bundle", async () => {
    await train({ wrong: 0, sharpness: right });
    await promote();
    await train({ wrong: 0, sharpness: mistaken, manifest: { metrics: { accuracy: 0.1, count: index.splits.val.rows.length } } });
    const report = await promote();
    expect(report.stderr).toContain(
      "Version 2 of colours: validation.jsonl is not used, because its figures do not match bundle.json.\n" +
        "Version 2 of colours has no validation predictions yet: evaluating it on the validation split first.",
    );
    expect(report).toMatchObject({ promoted: false, comparison: { challengerAccuracy: 0 } });
  });

  test("compares models of pictures of other sizes by their own predictions, and says what to do where one has none", async () => {
    await train({ wrong: 2, sharpness: right });
    await promote();
    await prepareAgain({ width: 30, height: 24 });
    await train({ wrong: 1, sharpness: right, preprocess: { width: 30, height: 24 } });
    expect(await promote()).toMatchObject({ promoted: true, version: "2", comparison: { onlyChallengerRight: 1 } });
    await train({ wrong: 1, sharpness: 5, keep: false });
    const { stderr } = await promote();
    expect(stderr).toContain("E_MODEL_DATA: Version 3 of colours was not compared with version 2: The model in ");
    expect(stderr).toContain("but the prepared data has width 30.");
    expect(stderr).toContain(
      "Or compare on other labelled pictures with --data SOURCE. --force --reason TEXT promotes it without a comparison.",
    );
  });

  test("works without the data where both have predictions of the same pictures, and says what to do where they have not", async () => {
    await train({ wrong: 2, sharpness: right });
    await promote();
    await train({ wrong: 1, sharpness: 5 });
    await train({ wrong: 1, sharpness: 4, keep: false });
    await rm(join(repository.cwd, "data"), { recursive: true });
    const missing = await promote();
    expect(missing.stderr).toContain("E_SHARDS_MISSING: Version 3 of colours was not compared with version 1: ");
    expect(missing.stderr).toContain("has no validation.jsonl, and there is no prepared data here to evaluate it on.");
    expect(missing.stderr).toContain("with --data SOURCE");
    const { stdout } = await serval("models", "promote", "colours/2");
    expect(stdout).toContain("Version 2 of colours is the champion in place of version 1.");
  });

  test("says so where the pictures may not be new to a model: after new data, and with --data", async () => {
    await train({ wrong: 0, sharpness: right });
    await promote();
    const before = index;
    for (let i = 0; i < 8; i++) await writeFile(join(repository.source, "red", `more-${i}.jpg`), await shadedPicture("red", 500 + i));
    await ingest(await openFolder(repository.source), {
      outDir: join(repository.cwd, "data", "raw"),
      quarantineDir: join(repository.cwd, "data", "quarantine"),
      journalPath: join(repository.cwd, ".serval", "import.json"),
    });
    await prepareAgain({});
    index = await readShardIndex(join(repository.cwd, "data", "processed"));
    await train({ wrong: 0, sharpness: 5 });
    const { rows } = index.splits.val;
    const kept = rows.filter(([sha256]) => before.splits.val.rows.some(([one]) => one === sha256)).length;
    const report = await promote();
    expect(report.stderr).toContain(
      "Version 1 of colours has validation predictions of other pictures: evaluating it on the validation split first.",
    );
    expect(report.remarks).toEqual([
      `Version 1 of colours was trained on other data (${before.dataVersion.slice(0, 12)}; prepared here is ${index.dataVersion.slice(0, 12)}). ` +
        `${kept} of these ${rows.length} pictures were in its own validation split. ` +
        "Pictures stay in their split when others are added, except for near duplicates and small classes: the model may have learned from a few of these.",
    ]);
    const all = 48;
    const withData = await serval("models", "promote", "colours/1", "--data", repository.source);
    expect(withData.stdout).toContain("On the pictures of --data, which decide:\n");
    expect(withData.stdout).toContain(
      `Version 2 of colours learned from ${index.splits.train.rows.length} of these ${all} pictures, which makes its result too good.`,
    );
  });

  test("names the bundle that is gone from the registry, and what can be done", async () => {
    await train({ wrong: 0, sharpness: right });
    await promote();
    await train({ wrong: 0, sharpness: 5 });
    await rm(join(repository.cwd, ".serval", "registry"), { recursive: true, force: true });
    const store = join(repository.cwd, ".serval", "tracking");
    for (const path of await readdir(store, { recursive: true })) if (path.endsWith("bundle.json")) await rm(join(store, path));
    const { stderr } = await promote();
    expect(stderr).toContain(
      'E_REGISTRY_CORRUPT: Version 2 of colours was not compared with version 1: Version 1 of "colours" lacks bundle.json.',
    );
    expect(stderr).toContain("--force --reason TEXT promotes it without a comparison.");
    expect(await promote("--force", "--reason", "the old one is lost")).toMatchObject({ promoted: true, comparison: null });
  });
});
