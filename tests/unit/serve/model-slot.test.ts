import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { followFolder } from "../../../src/serve/model/folder-source.ts";
import type { ModelCandidate, OfferResult } from "../../../src/serve/model/model-slot.ts";
import { readServable } from "../../../src/serve/model/served-model.ts";
import {
  getJson,
  predictForm,
  readReply,
  startTestService,
  type JsonReply,
  type TestService,
  type TestServiceOptions,
} from "../../helpers/service.ts";
import { colourPicture, writeTinyBundle, type TinyOptions } from "../../helpers/tiny-bundle.ts";

let service: TestService | undefined;
async function start(options: TestServiceOptions = {}): Promise<TestService> {
  service = await startTestService({ ...options, access: { admin: "local", ...options.access } });
  return service;
}
afterEach(async () => {
  await service?.close();
  service = undefined;
});

/** Another version: the same classes, other answers. */
async function candidate({ root }: TestService, version: string, options: TinyOptions = { sharpness: 3 }): Promise<ModelCandidate> {
  const { dir } = await writeTinyBundle(join(root, version), options);
  return { version, load: async () => await readServable(dir, version) };
}
const change = async ({ url }: TestService, method: string, path: string): Promise<JsonReply> =>
  await readReply(await fetch(`${url}${path}`, { method }));
const redOf = async (running: TestService): Promise<[string, number]> => {
  const { body } = await predictForm(running, await colourPicture("red"));
  return [body.model.version, body.probabilities.red];
};

describe("a new version", () => {
  it("takes the place of the old one, and says so in log, metrics and /model", async () => {
    const running = await start();
    const [first, before] = await redOf(running);
    expect(await running.slot.offer(await candidate(running, "v2"))).toBe("swapped");
    const [second, after] = await redOf(running);
    expect([second, after < before]).toEqual(["v2", true]);
    expect((await getJson(running, "/model")).body).toMatchObject({
      version: "v2",
      previous: { name: "colours", version: first },
      refused: null,
    });
    expect((await getJson(running, "/health")).body.model.version).toBe("v2");
    const metrics = await (await fetch(`${running.url}/metrics`)).text();
    expect(metrics).toContain('serval_model_info{name="colours",version="v2"} 1');
    expect(metrics).not.toContain(`serval_model_info{name="colours",version="${first}"}`);
    expect(metrics).toContain('serval_model_swaps_total{result="swapped"} 1');
    expect(await running.logged((line) => line["msg"] === "model swapped")).toMatchObject({ version: "v2", before: first });
    expect(await running.slot.offer(await candidate(running, "v2"))).toBe("same");
  });

  it("loses no request on its way in, and each is answered by one version or the other", async () => {
    const running = await start({ workers: 2 });
    const picture = await colourPicture("red");
    const answers: string[] = [];
    const swapping = new AbortController();
    const lane = async (): Promise<void> => {
      while (!swapping.signal.aborted) {
        const { status, body } = await predictForm(running, picture);
        expect(status).toBe(200);
        answers.push(`${body.model.version} ${(body.probabilities.red as number).toFixed(4)}`);
      }
    };
    const lanes = Promise.all(Array.from({ length: 6 }, lane));
    for (const version of ["v2", "v3", "v4"]) {
      expect(await running.slot.offer(await candidate(running, version, { sharpness: Number(version[1]) }))).toBe("swapped");
    }
    swapping.abort();
    await lanes;
    // One pair of version and probability for each version: no answer came from the wrong model.
    const pairs = new Set(answers);
    expect(new Set([...pairs].map((pair) => pair.split(" ")[0])).size).toBe(pairs.size);
    expect(pairs.size).toBeGreaterThan(1);
  });

  it.each<[string, string, (running: TestService) => Promise<ModelCandidate>]>([
    [
      "a file that does not match its hash",
      "E_BUNDLE_CORRUPT",
      async (running) => {
        const bad = await candidate(running, "bad");
        await writeFile(join(running.root, "bad", "model.onnx"), "damaged");
        return bad;
      },
    ],
    [
      "answers that are not the known ones",
      "E_BUNDLE_CHECKS",
      async (running) => await candidate(running, "bad", { sharpness: 1, manifest: { checks: running.bundle.manifest.checks } }),
    ],
    ["other labels", "E_MODEL_SIGNATURE", async (running) => await candidate(running, "bad", { labels: ["green", "red"] })],
    [
      "no bundle at all",
      "E_BUNDLE_MISSING",
      async ({ root }) => ({ version: "bad", load: async () => await readServable(join(root, "nowhere")) }),
    ],
  ])("is refused for %s: the old one still serves, and log, metrics and /model say why", async (_what, code, make) => {
    const running = await start();
    const before = await redOf(running);
    expect(await running.slot.offer(await make(running))).toBe("refused");
    expect(await redOf(running)).toEqual(before);
    expect((await getJson(running, "/model")).body).toMatchObject({
      version: before[0],
      previous: null,
      refused: { version: "bad", code },
    });
    expect(await running.logged((line) => String(line["msg"]).startsWith("model refused"))).toMatchObject({
      level: "error",
      code,
      version: "bad",
      serving: before[0],
    });
    const metrics = await (await fetch(`${running.url}/metrics`)).text();
    expect(metrics).toContain('serval_model_swaps_total{result="refused"} 1');
    expect(metrics).toContain(`serval_errors_total{code="${code}"} 1`);
    // What is refused is what the source offers now: it names the served version again, as after a registry's bad moment.
    expect(await running.slot.offer(await candidate(running, before[0]))).toBe("same");
    expect((await getJson(running, "/model")).body.refused).toBe(null);
  });
});

describe("POST /model/rollback", () => {
  it("goes back, keeps the version out until another is offered, and works from memory", async () => {
    const running = await start();
    const first = await redOf(running);
    const v2 = await candidate(running, "v2");
    await running.slot.offer(v2);
    const { status, body } = await change(running, "POST", "/model/rollback");
    expect([status, body]).toEqual([
      200,
      {
        model: { name: "colours", version: first[0] },
        previous: { name: "colours", version: "v2" },
        pinned_against: { name: "colours", version: "v2" },
      },
    ]);
    expect(await redOf(running)).toEqual(first);
    const offers: OfferResult[] = [];
    for (const version of ["v2", "v2", "v3", "v2"])
      offers.push(await running.slot.offer(version === "v2" ? v2 : await candidate(running, version, { sharpness: 4 })));
    expect(offers).toEqual(["pinned", "pinned", "swapped", "swapped"]);
    expect((await redOf(running))[0]).toBe("v2");
  });

  it("is undone by DELETE /model/pin", async () => {
    const running = await start();
    await running.slot.offer(await candidate(running, "v2"));
    await change(running, "POST", "/model/rollback");
    const { status, body } = await change(running, "DELETE", "/model/pin");
    expect([status, body.result, body.model.version, body.pinned_against]).toEqual([200, "swapped", "v2", null]);
    expect((await redOf(running))[0]).toBe("v2");
  });

  it("says that there is nothing to go back to, or to let in", async () => {
    const running = await start();
    for (const [method, path] of [
      ["POST", "/model/rollback"],
      ["DELETE", "/model/pin"],
    ] as const) {
      const { status, body } = await change(running, method, path);
      expect([status, body.error.code]).toEqual([409, "E_MODEL_ROLLBACK"]);
    }
  });
});

it("follows the folder that it serves: a bundle that is put there is served without a restart", async () => {
  const running = await start();
  const { dir } = running.bundle;
  const watching = new AbortController();
  const offered: OfferResult[] = [];
  followFolder(dir, 5).follow(async (found) => {
    const result = await running.slot.offer(found);
    offered.push(result);
    return result;
  }, watching.signal);
  await expect.poll(() => offered.length).toBeGreaterThan(1);
  expect(new Set(offered)).toEqual(new Set(["same"]));
  const { digest } = await writeTinyBundle(dir, { sharpness: 2 });
  await expect.poll(async () => (await redOf(running))[0]).toBe(digest.slice(0, 12));
  watching.abort();
});
