import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { loadBackbone } from "../../../src/backbones/load-backbone.ts";
import { fetchFromHub, parseHubSource } from "../../../src/backbones/hub.ts";
import { runCli } from "../../../src/cli/main.ts";
import { hubEndpoint } from "../../../src/config/env.ts";
import { sha256 } from "../../../src/files.ts";
import { startModelHub, type ModelHub } from "../../helpers/model-hub.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";

const shipped = join(import.meta.dirname, "../../../models/backbones/efficientnet-lite0/weights.safetensors");
const source = "hf:timm/tf_efficientnet_lite0.in1k@v1";
const [weightsKey, configKey] = ["timm/tf_efficientnet_lite0.in1k/v1/model.safetensors", "timm/tf_efficientnet_lite0.in1k/v1/config.json"];
const config = {
  architecture: "tf_efficientnet_lite0",
  num_classes: 1000,
  pretrained_cfg: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], license: "apache-2.0" },
};
const encode = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const weights = await readFile(shipped);

let dir: string;
let hub: ModelHub;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-hub-"));
  hub = await startModelHub();
  hub.files.set(weightsKey, weights).set(configKey, encode(config));
  vi.stubEnv("HF_ENDPOINT", `${hub.endpoint}/`);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
  await rm(dir, { recursive: true, force: true });
});

async function add(...flags: string[]): Promise<{ code: number; out: string; err: string }> {
  const context = recordedContext(dir);
  const code = await runCli(["backbones", "add", source, ...flags], context);
  return { code, out: context.stdout.text, err: context.stderr.text };
}

const lock = async (): Promise<unknown> => JSON.parse(await readFile(join(dir, "downloads.lock.json"), "utf8"));
const added = async (): Promise<string[]> => await readdir(join(dir, "models/backbones")).catch(() => []);

/** Without the waits between attempts. */
async function fetchDirectly(retries: number): ReturnType<typeof fetchFromHub> {
  const options = { endpoint: hub.endpoint, lockPath: join(dir, "downloads.lock.json"), dir: join(dir, ".serval/downloads") };
  return await fetchFromHub(parseHubSource(source), { ...options, retries, retryDelayMs: 1 });
}

describe("a backbone from a hub", () => {
  test("is downloaded through the redirect, gets its colours and licence from config.json, and is pinned", async () => {
    const { code, out } = await add();
    expect([code, out.split("\n")[0]]).toEqual([0, "Added tf_efficientnet_lite0.in1k as models/backbones/tf_efficientnet_lite0.in1k."]);
    const backbone = await loadBackbone("tf_efficientnet_lite0.in1k", dir);
    expect(backbone.record).toMatchObject({
      architecture: "efficientnet-lite0",
      mean: [0.5, 0.5, 0.5],
      std: [0.5, 0.5, 0.5],
      licence: "apache-2.0",
      origin: `${source}, model.safetensors`,
    });
    expect(backbone.network).toMatchObject({ mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], channels: 1280 });
    expect(await lock()).toMatchObject({
      [`${source}/config.json`]: { sizeBytes: encode(config).length, sha256: sha256(encode(config)) },
      [`${source}/model.safetensors`]: { sizeBytes: weights.length, sha256: sha256(weights) },
    });
    expect(hub.requests).toEqual([
      "hub /timm/tf_efficientnet_lite0.in1k/resolve/v1/config.json",
      "hub /timm/tf_efficientnet_lite0.in1k/resolve/v1/model.safetensors",
      `cdn /content/${encodeURIComponent(weightsKey)}`,
    ]);
    const again = await add();
    expect(again).toMatchObject({ code: 0, out: expect.stringContaining("is this backbone already") as string });
  });

  test("that breaks off is continued where it broke", async () => {
    hub.cuts.push(5_000_000);
    await expect(fetchDirectly(0)).rejects.toMatchObject({ code: "E_DOWNLOAD" });
    expect(hub.requests).toHaveLength(3);
    const { path } = await fetchDirectly(0);
    expect(sha256(await readFile(path))).toBe(sha256(weights));
    expect(hub.requests.at(-1)).toMatch(/^cdn \S+ bytes=[1-9]\d+-$/);
  });

  test.each([
    ["weights", weightsKey, Buffer.concat([weights.subarray(0, -1), Buffer.from([weights.at(-1)! ^ 1])])],
    ["config", configKey, encode({ ...config, pretrained_cfg: { ...config.pretrained_cfg, mean: [0, 0, 0] } })],
  ])("whose %s change under the same revision is refused, again and again, and what was there stays", async (_, key, changed) => {
    expect((await add()).code).toBe(0);
    const [before, digest] = [await lock(), (await loadBackbone("tf_efficientnet_lite0.in1k", dir)).digest];
    const original = hub.files.get(key)!;
    hub.files.set(key, changed);
    for (let attempt = 0; attempt < 2; attempt++) {
      const { code, err } = await add("--name", "second");
      expect([code, err]).toEqual([3, expect.stringContaining(`with sha256 ${sha256(changed)}; downloads.lock.json expects`)]);
    }
    expect([await lock(), await added()]).toEqual([before, ["tf_efficientnet_lite0.in1k"]]);
    hub.files.set(key, original);
    expect((await add("--name", "second")).code).toBe(0);
    expect((await loadBackbone("second", dir)).digest).toBe(digest);
  });
});

describe("a hub that has nothing to give", () => {
  const nothingDone = async (): Promise<void> => {
    expect(await added()).toEqual([]);
    await expect(lock()).rejects.toMatchObject({ code: "ENOENT" });
  };

  test("is down: the message says what works without a network, and it does", async () => {
    await hub.close();
    await expect(fetchDirectly(1)).rejects.toMatchObject({
      code: "E_DOWNLOAD",
      message: expect.stringContaining("ECONNREFUSED") as string,
      hint: expect.stringContaining("Without a network, `efficientnet-lite0` works: it comes with Serval.") as string,
    });
    expect((await loadBackbone("efficientnet-lite0", dir)).network.channels).toBe(1280);
    await nothingDone();
  });

  test.each([
    ["answers with a page", 200, "answered with a web page (text/html; charset=utf-8) instead of a file."],
    ["answers with an error and a page", 503, "answered with HTTP status 503."],
    ["requires a password", 401, "answered with HTTP status 401."],
  ])("%s", async (_, status, message) => {
    hub.override = (response) => {
      response.writeHead(status, { "content-type": "text/html; charset=utf-8" }).end("<!doctype html><title>Sign in</title>");
    };
    const { code, err } = await add();
    expect([code, err]).toEqual([
      1,
      expect.stringContaining(`"${hub.endpoint}/timm/tf_efficientnet_lite0.in1k/resolve/v1/config.json" ${message}`),
    ]);
    await nothingDone();
  });

  test("has no safetensors", async () => {
    hub.files.delete(weightsKey);
    const { code, err } = await add();
    expect([code, err]).toEqual([1, expect.stringContaining('/resolve/v1/model.safetensors" answered with HTTP status 404.')]);
    await nothingDone();
  });

  test.each([
    ["has a pickle under the name of safetensors", Buffer.from([0x80, 2, 0x8a, 10, 0, 0, 0, 0, 0]), "E_BACKBONE_PICKLE"],
    ["has a page stored as safetensors", Buffer.from("<!doctype html><title>Not a model</title>"), "is not a whole safetensors file"],
  ])("%s: nothing is pinned", async (_, bytes, message) => {
    hub.files.set(weightsKey, bytes);
    const { code, err } = await add();
    expect([code, err]).toEqual([expect.any(Number), expect.stringContaining(message)]);
    expect(code).toBeGreaterThan(0);
    await nothingDone();
  });

  test.each([
    [
      "another network",
      { ...config, architecture: "resnet50" },
      'config.json: expected the architecture tf_efficientnet_lite0, got "resnet50".',
    ],
    ["no network", {}, "config.json: expected the architecture tf_efficientnet_lite0, got none."],
    [
      "no colours",
      { architecture: "tf_efficientnet_lite0" },
      "expected pretrained_cfg.mean and pretrained_cfg.std, three numbers each, got none and none.",
    ],
  ])("describes %s: the weights are not downloaded", async (_, described, message) => {
    hub.files.set(configKey, encode(described));
    const { code, err } = await add();
    expect([code, err]).toEqual([3, expect.stringContaining(message)]);
    expect(hub.requests).toHaveLength(1);
    await nothingDone();
  });

  test("sends more than a backbone may have: refused by its size, before it is received", async () => {
    hub.override = (response) => {
      response.writeHead(200, { "content-length": 2_000_000 });
      response.write(Buffer.alloc(1000));
    };
    const { code, err } = await add();
    expect([code, err]).toEqual([1, expect.stringContaining("the server announces 2000000 bytes, of which at most 1000000 are taken")]);
    await nothingDone();
  });

  test("sends more than a backbone may have without saying so: it stops there", async () => {
    hub.override = (response) => void response.writeHead(200).end(Buffer.alloc(1_500_000));
    const { code, err } = await add();
    expect([code, err]).toEqual([1, expect.stringContaining("a body of more than 1000000 bytes")]);
    await nothingDone();
  });

  test.each(["file:///etc/hostname", "ftp://127.0.0.1/x", "data:text/plain,x"])("redirects to %s: not followed", async (address) => {
    hub.redirect = address;
    const { code, err } = await add();
    expect([code, err]).toEqual([1, expect.stringMatching(/could not be downloaded: a redirect to \S+, which is not followed/)]);
    await nothingDone();
  });

  test("is not asked by a training: an address is added first", async () => {
    await expect(loadBackbone(source, dir)).rejects.toMatchObject({
      code: "E_BACKBONE_MISSING",
      hint: `Run \`serval backbones add ${source}\` first.`,
    });
    expect(hub.requests).toEqual([]);
  });

  test("HF_ENDPOINT has to be an http(s) address", () => {
    expect(hubEndpoint({})).toBe("https://huggingface.co");
    expect(hubEndpoint({ HF_ENDPOINT: "https://mirror.example/" })).toBe("https://mirror.example");
    expect(() => hubEndpoint({ HF_ENDPOINT: "mirror" })).toThrow(expect.objectContaining({ code: "E_ENV" }) as Error);
  });
});
