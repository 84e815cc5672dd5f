import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { Service } from "../../src/serve/service.ts";
import { serveModel, type ServeModelOptions } from "../../src/workflows/service/serve-model.ts";
import { describeTraining } from "../../src/cli/describe/training.ts";
import { silentReporter } from "../../src/workflows/reporter.ts";
import { startServal } from "../helpers/serval-process.ts";
import { getJson } from "../helpers/service.ts";
import { writeTinyBundle } from "../helpers/tiny-bundle.ts";

let cwd: string;
beforeEach(async () => void (cwd = await mkdtemp(join(tmpdir(), "serval-pinned-"))));
afterEach(() => rm(cwd, { recursive: true, force: true }));

const trained = "artifacts/best";
async function put(folder: string, sharpness: number): Promise<string> {
  return (await writeTinyBundle(join(cwd, folder), { sharpness })).digest.slice(0, 12);
}

interface Started {
  readonly service: Service;
  readonly warnings: string[];
}

async function serve(options: Partial<ServeModelOptions> = {}): Promise<Started> {
  const warnings: string[] = [];
  const reporter = { ...silentReporter, warn: (text: string) => void warnings.push(text) };
  const settings = { host: "127.0.0.1", port: 0, modelPollMs: 5, drainMs: 0, workers: 1, logLevel: "silent" as const, ...options.settings };
  const service = await serveModel({ cwd, reporter, ...options, settings });
  onTestFinished(async () => await service.close());
  return { service, warnings };
}
const versionOf = async ({ service }: Started): Promise<string> => (await getJson(service, "/health")).body.model.version;

describe("serval serve without a released model", () => {
  test("serves artifacts/best as it is at start, says so, and does not follow it; with --follow it does", async () => {
    const first = await put(trained, 3);
    const pinned = await serve();
    const named = await serve({ model: trained });
    const following = await serve({ follow: true });
    for (const { warnings } of [pinned, named]) {
      expect(warnings).toEqual([expect.stringMatching(/artifacts\/best as it is now.*serval models release.*--follow/s)]);
    }
    expect(pinned.warnings[0]).toContain("No model is released");
    expect(following.warnings).toEqual([expect.stringContaining("artifacts/best and what replaces it")]);
    const second = await put(trained, 2);
    expect(second).not.toBe(first);
    await expect.poll(async () => await versionOf(following)).toBe(second);
    expect([await versionOf(pinned), await versionOf(named)]).toEqual([first, first]);
  });

  test("stays with artifacts/best when a model is released later", async () => {
    const first = await put(trained, 3);
    const pinned = await serve();
    await put("models/colours", 2);
    const released = await serve();
    expect(await versionOf(released)).not.toBe(first);
    expect(await versionOf(pinned)).toBe(first);
  });
});

describe("serval serve with a released model", () => {
  test("takes that, whatever was trained since, without a remark, and follows what is released over it", async () => {
    const released = await put("models/colours", 3);
    await put(trained, 2);
    const started = await serve();
    expect(await versionOf(started)).toBe(released);
    expect(started.warnings).toEqual([]);
    const next = await put("models/colours", 2.5);
    await expect.poll(async () => await versionOf(started)).toBe(next);
  });

  test("names those that are released where there are several and none is called as model.name, and serves the trained one as it is", async () => {
    await put("models/colours", 3);
    await put("models/others", 3);
    const first = await put(trained, 2);
    const started = await serve();
    expect(await versionOf(started)).toBe(first);
    expect(started.warnings).toEqual([
      expect.stringContaining("Several models are released (colours, others), and model.name of params.yaml names none of them: serving"),
    ]);
  });
});

test("--follow without looking is refused", async () => {
  await put(trained, 3);
  await expect(serve({ follow: true, settings: { modelPollMs: 0 } })).rejects.toMatchObject({
    code: "E_USAGE",
    message: expect.stringContaining("SERVAL_MODEL_POLL_MS"),
  });
});

test("serval serve --help knows --follow, and the command says what it serves", async () => {
  await put(trained, 3);
  const serving = startServal(cwd, ["serve", "--port", "0"], { SERVAL_DRAIN_MS: "0" });
  await serving.address();
  const { stderr } = await serving.stop("SIGTERM");
  expect(stderr).toMatch(/No model is released: serving artifacts\/best as it is now/);
  const following = startServal(cwd, ["serve", "--port", "0", "--follow"], { SERVAL_DRAIN_MS: "0" });
  await following.address();
  expect((await following.stop("SIGTERM")).stderr).toContain("artifacts/best and what replaces it");
});

test("serval train ends by naming serval models release", () => {
  const model = { dir: trained, version: "1", epoch: 1, accuracy: 1, loss: 0 };
  const report = {
    run: "r",
    best: model,
    final: model,
    seconds: 1,
    imagesPerSecond: 1,
    waitShare: 0,
    lowering: "portable",
    threads: 1,
    strategy: "scratch" as const,
  };
  const text = describeTraining({ ...report, tracking: null, cautions: [] });
  expect(text.split("\n").at(-1)).toMatch(/^Next: serval evaluate.*serval models release.*serval serve/);
});

test("/docs, its description and the page name the version that answers, also after a swap", async () => {
  const first = await put("models/colours", 3);
  const started = await serve();
  const { url } = started.service;
  const named = async (): Promise<string[]> => {
    const page = await (await fetch(`${url}/`, { headers: { accept: "text/html" } })).text();
    const descriptions = await Promise.all(
      ["/openapi.json", "/docs/json"].map(async (path) => (await getJson(started.service, path)).body),
    );
    return [
      /Model version <span id="version">(\w+)<\/span>/.exec(page)?.[1] ?? page,
      ...descriptions.map(({ info }) => info.version as string),
    ];
  };
  expect(await named()).toEqual([first, first, first]);
  const second = await put("models/colours", 2);
  await expect.poll(async () => await versionOf(started)).toBe(second);
  expect(await named()).toEqual([second, second, second]);
});
