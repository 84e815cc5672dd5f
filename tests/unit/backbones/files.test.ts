import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadBackbone } from "../../../src/backbones/load-backbone.ts";
import { runCli } from "../../../src/cli/main.ts";
import { sha256, sha256File } from "../../../src/files.ts";
import { writeBundle } from "../../../src/model/bundle.ts";
import { encodeSafetensors, float32Safetensor, parseSafetensors, type Safetensor } from "../../../src/model/safetensors.ts";
import { efficientNetLite0 } from "../../../src/nn/architectures/efficientnet-lite0.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";
import { writeTinyBundle } from "../../helpers/tiny-bundle.ts";
import { zipFile } from "../../helpers/zip-file.ts";

const shipped = join(import.meta.dirname, "../../../models/backbones/efficientnet-lite0");

let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), "serval-backbones-"))));
afterEach(async () => await rm(dir, { recursive: true, force: true }));

/** Runs `serval backbones ARGS` in the folder of the test. */
async function backbones(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const context = recordedContext(dir);
  const code = await runCli(["backbones", ...args], context);
  return { code, out: context.stdout.text, err: context.stderr.text };
}

async function shippedTensors(): Promise<Record<string, Safetensor>> {
  return { ...parseSafetensors(await readFile(join(shipped, "weights.safetensors"))).tensors };
}

/** A copy of the shipped backbone as `models/backbones/copy`, whose weights are changed; the record agrees with them unless told otherwise. */
async function makeCopy(change: (path: string) => Promise<void>, recorded = true): Promise<string> {
  const copy = join(dir, "models/backbones/copy");
  await cp(shipped, copy, { recursive: true });
  const weights = join(copy, "weights.safetensors");
  await change(weights);
  const record = JSON.parse(await readFile(join(copy, "backbone.json"), "utf8")) as { name: string; files: Record<string, string> };
  record.name = "copy";
  if (recorded) record.files["weights.safetensors"] = await sha256File(weights);
  await writeFile(join(copy, "backbone.json"), JSON.stringify(record));
  return weights;
}

describe("weights that are not what they should be", () => {
  test("a damaged file is named, with the hash that it has and the one that is expected", async () => {
    const before = await sha256File(join(shipped, "weights.safetensors"));
    const path = await makeCopy(async (file) => {
      const bytes = await readFile(file);
      bytes[bytes.length >> 1]! ^= 1;
      await writeFile(file, bytes);
    }, false);
    await expect(loadBackbone("copy", dir)).rejects.toMatchObject({
      code: "E_BACKBONE_CORRUPT",
      message: `${path} (7015624 bytes) has the SHA-256 ${await sha256File(path)}; backbone.json says ${before}.`,
    });
  });

  test("a file that is cut off is named, with the tensor that it ends in", async () => {
    const path = await makeCopy(async (file) => await truncate(file, 1_000_000));
    await expect(loadBackbone("copy", dir)).rejects.toMatchObject({
      code: "E_BACKBONE_CORRUPT",
      message: expect.stringMatching(
        new RegExp(`^${path} is not a whole safetensors file: Tensor "\\S+": expected bytes \\d+ to \\d+, got only \\d+`),
      ),
    });
  });

  test("weights of another network are named, with the first tensor that is missing or has another shape", async () => {
    const foreign = await makeCopy(async (file) => {
      await writeFile(file, encodeSafetensors({ "layer1.0.conv1.weight": float32Safetensor([1], Float32Array.of(1)) }));
    });
    await expect(loadBackbone("copy", dir)).rejects.toMatchObject({
      code: "E_BACKBONE_CORRUPT",
      message: `${foreign} tensor conv_stem.weight: efficientnet-lite0 expects F32 or F16 [32, 3, 3, 3], got none.`,
    });
    const tensors = await shippedTensors();
    tensors["bn1.bias"] = float32Safetensor([16], new Float32Array(16));
    await writeFile(join(dir, "odd.safetensors"), encodeSafetensors(tensors));
    const { code, err } = await backbones("add", "odd.safetensors");
    expect(code).toBe(3);
    expect(err).toContain(`odd.safetensors tensor bn1.bias: efficientnet-lite0 expects F32 or F16 [32], got F32 [16].`);
  });

  test("a missing file is named", async () => {
    const path = await makeCopy(async () => undefined);
    await rm(path);
    await expect(loadBackbone("copy", dir)).rejects.toMatchObject({
      code: "E_BACKBONE_CORRUPT",
      message: expect.stringContaining(`${path} cannot be read: ENOENT`) as string,
    });
  });

  test.each([
    ["a pickle", "weights.bin", Buffer.from([0x80, 2, 0x8a, 10]), "got a pickle."],
    ["a pickle under the name of safetensors", "weights.safetensors", Buffer.from([0x80, 4, 0x95, 0, 0, 0, 0, 0, 0]), "got a pickle."],
    ["a zip with a pickle", "weights.pth", zipFile([{ name: "archive/data.pkl", bytes: Buffer.from([0x80, 2]) }]), "got a zip, as PyTorch"],
    ["an empty file with the name of a pickle", "weights.ckpt", Buffer.alloc(0), "got a file with the name of a pickle."],
  ])("%s is refused by name", async (_, name, bytes, got) => {
    await writeFile(join(dir, name), bytes);
    const { code, err } = await backbones("add", name);
    expect(code).toBe(3);
    expect(err).toContain(`E_BACKBONE_PICKLE: ${join(dir, name)}: expected safetensors or ONNX, ${got}`);
    expect(await readdir(dir)).toEqual([name]);
  });

  test("a file that is larger than a backbone may be is refused by its size, before it is read", async () => {
    const path = join(dir, "huge.safetensors");
    await writeFile(path, "");
    await truncate(path, 2 ** 30 + 1);
    const before = process.memoryUsage().rss;
    const { code, err } = await backbones("add", "huge.safetensors");
    expect([code, err.split("\n")[0]]).toEqual([3, `E_BACKBONE_UNFIT: ${path} has 1073741825 bytes; a backbone may have 1073741824.`]);
    expect(process.memoryUsage().rss - before).toBeLessThan(2e8);
  });
});

describe("serval backbones", () => {
  const list = async (): Promise<unknown> => JSON.parse((await backbones("list", "--json")).out);

  test("lists what came with Serval, adds a safetensors file without its classifier, shows it and removes it", async () => {
    const came = {
      name: "efficientnet-lite0",
      dir: shipped,
      shipped: true,
      network: "efficientnet-lite0",
      features: 1280,
      sizeBytes: 7015624,
    };
    expect(await list()).toEqual([{ ...came, licence: "Apache-2.0" }]);
    const tensors = await shippedTensors();
    await writeFile(
      join(dir, "My Weights.safetensors"),
      encodeSafetensors({ ...tensors, "classifier.weight": float32Safetensor([1000, 1280], new Float32Array(1_280_000)) }),
    );
    const added = await backbones("add", "My Weights.safetensors", "--licence", "MIT", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5");
    expect(added).toMatchObject({ code: 0, out: expect.stringContaining("Added my-weights as models/backbones/my-weights.") as string });
    const rows = (await list()) as { name: string }[];
    expect(rows).toHaveLength(2);
    expect(rows[0]).toMatchObject({ name: "my-weights", shipped: false, features: 1280, licence: "MIT" });
    const shown = JSON.parse((await backbones("show", "my-weights", "--json")).out) as { record: Record<string, unknown>; digest: string };
    const file = await readFile(join(dir, "models/backbones/my-weights/weights.safetensors"));
    expect(shown).toMatchObject({ digest: sha256(file), mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], features: 1280, side: 224 });
    expect(Object.keys(parseSafetensors(file).tensors).sort()).toEqual([...efficientNetLite0.tensors.keys()].sort());
    expect((await backbones("show", "my-weights")).out).toContain("mean 0.5, 0.5, 0.5, std 0.5, 0.5, 0.5");
    expect((await backbones("remove", "my-weights")).out).toBe("Removed models/backbones/my-weights.\n");
    expect(await list()).toHaveLength(1);
  });

  test("adding the same again changes nothing; another one under a name that is taken is refused", async () => {
    const path = join(shipped, "weights.safetensors");
    expect((await backbones("add", path, "--name", "mine")).code).toBe(0);
    const again = await backbones("add", path, "--name", "mine");
    expect(again).toMatchObject({ code: 0, out: expect.stringContaining("models/backbones/mine is this backbone already.") as string });
    for (const name of ["mine", "efficientnet-lite0"]) {
      const { code, err } = await backbones("add", path, "--name", name, "--licence", "another");
      expect([code, err]).toEqual([2, expect.stringContaining(`E_BACKBONE_EXISTS: There is another backbone ${name} in `)]);
    }
  });

  test("what came with Serval is never removed, and what is not there cannot be", async () => {
    const { code, err } = await backbones("remove", "efficientnet-lite0");
    expect([code, err]).toEqual([2, expect.stringContaining("E_USAGE: efficientnet-lite0 came with Serval and is not removed")]);
    expect((await backbones("remove", "nothing")).err).toContain('E_BACKBONE_MISSING: There is no backbone "nothing"');
    expect((await backbones("remove", "../x")).err).toContain("E_USAGE: --name: expected small letters");
    expect(await readdir(shipped)).toContain("weights.safetensors");
  });

  test("a damaged record is named, and hides no other backbone", async () => {
    await mkdir(join(dir, "models/backbones/bad"), { recursive: true });
    await writeFile(join(dir, "models/backbones/bad/backbone.json"), "{");
    const { code, out, err } = await backbones("list");
    expect([code, out.split("\n").length]).toEqual([0, 3]);
    expect(err).toContain(`E_BACKBONE_CORRUPT: bad: ${join(dir, "models/backbones/bad/backbone.json")} is not valid JSON`);
  });

  test("takes the backbone out of a model that was trained on one, with its colours", async () => {
    const tiny = await writeTinyBundle(join(dir, "tiny"));
    const tensors = await shippedTensors();
    const own = { mean: "[0.5,0.25,0.5]", std: JSON.stringify(efficientNetLite0.std), architecture: "efficientnet-lite0" };
    const checks = await Promise.all(tiny.manifest.checks.map(async ({ file }) => [file, await readFile(join(tiny.dir, file))] as const));
    const bundle = await writeBundle(join(dir, "trained"), {
      manifest: { ...tiny.manifest, name: "flowers" },
      files: {
        ...Object.fromEntries(checks),
        "model.onnx": tiny.model,
        "weights.safetensors": encodeSafetensors({ ...tensors, "fc.weight": float32Safetensor([2, 1280], new Float32Array(2560)) }, own),
      },
      card: "",
      provenance: {},
    });
    expect((await backbones("add", "trained", "--name", "flowers-net")).code).toBe(0);
    const { record, network } = await loadBackbone("flowers-net", dir);
    expect(record.origin).toBe(`the model flowers, version ${bundle.digest.slice(0, 12)}`);
    expect([network.mean, network.std]).toEqual([[0.5, 0.25, 0.5], efficientNetLite0.std]);
    const kept = parseSafetensors(await readFile(join(dir, "models/backbones/flowers-net/weights.safetensors"))).tensors;
    expect(Object.keys(kept).sort()).toEqual(Object.keys(tensors).sort());
    expect(Buffer.from(kept["conv_head.weight"]!.data).equals(Buffer.from(tensors["conv_head.weight"]!.data))).toBe(true);
  });

  test("a bundle without a network that Serval can take a backbone from is refused by the first tensor", async () => {
    await writeTinyBundle(join(dir, "bundle"));
    const { code, err } = await backbones("add", "bundle");
    expect([code, err]).toEqual([3, expect.stringContaining("weights.safetensors tensor conv_stem.weight: efficientnet-lite0 expects")]);
  });

  test.each([
    [["add", "missing.safetensors"], "E_FILE_NOT_FOUND"],
    [["add", "x.onnx", "--mean", "1,2"], "E_USAGE: --mean: expected three numbers"],
    [["add", "x.onnx", "--std", "1,2,0"], "E_USAGE: --std: expected three numbers"],
    [["add", "x.onnx", "--side", "0"], "E_USAGE: --side: expected a number of pixels"],
    [["add", "hf:owner/name"], "E_USAGE: Expected hf:OWNER/NAME@REVISION"],
    [["add", "hf:owner/../name@main"], "E_USAGE: Expected hf:OWNER/NAME@REVISION"],
    [["add", "x", "--name", "UP"], "E_USAGE: --name: expected small letters"],
  ])("%j is refused: %s", async (args, message) => {
    const { code, err } = await backbones(...args);
    expect([code, err]).toEqual([2, expect.stringContaining(message)]);
  });
});
