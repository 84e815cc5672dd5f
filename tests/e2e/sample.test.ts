import { access, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadBundle } from "../../src/model/bundle.ts";
import { startServal, type ServalProcess } from "../helpers/serval-process.ts";
import { colourPicture, writeTinyBundle } from "../helpers/tiny-bundle.ts";

/** What `npm start` runs in a new folder where a model is already released. */
describe("serval up", () => {
  let dir: string;
  const running: ServalProcess[] = [];
  const up = (...args: string[]): ServalProcess => {
    const process = startServal(dir, ["up", "--port", "0", ...args]);
    running.push(process);
    return process;
  };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "serval-up-"));
    await writeTinyBundle(join(dir, "models/colours"), { name: "colours" });
    await mkdir(join(dir, "data/raw"), { recursive: true });
    await writeFile(join(dir, "data/raw/mine.txt"), "mine");
    await writeFile(join(dir, "params.yaml"), "train:\n  epochs: 99\n");
  });
  afterAll(async () => {
    for (const process of running) await process.stop("SIGKILL");
    await rm(dir, { recursive: true, force: true });
  });

  test("serves the released model as it is, and ends by printing an address and a line to try", async () => {
    const service = up();
    const url = await service.address();
    await service.waitFor(/curl -F file=@\S+ http/);
    const model = (await (await fetch(`${url}/model`)).json()) as { name: string };
    expect(model.name).toBe("colours");
    const body = new Uint8Array(await colourPicture("red"));
    const answer = (await (await fetch(`${url}/predict`, { method: "POST", body, headers: { "content-type": "image/jpeg" } })).json()) as {
      label: string;
    };
    expect(answer.label).toBe("red");
    const [, tracking = ""] = await service.waitFor(/Runs and registered models: (http:\/\/\S+)/);
    expect(await (await fetch(`${tracking}/health`)).text()).toBe("OK");
    expect((await service.stop()).code).toBe(0);
    await expect(access(join(dir, ".serval/sample"))).rejects.toThrow("ENOENT");
  });

  test("with --sample draws, trains, evaluates and serves a sample inside .serval, and touches nothing else", async () => {
    const released = (await loadBundle(join(dir, "models/colours"))).digest;
    const service = up("--sample");
    const url = await service.address();
    const said = service.text();
    expect(said).toMatch(/drawings/);
    const [, right = ""] = /Drawn sample: ([\d.]+) % of \d+ held-out drawings/.exec(said) ?? [];
    // A network that learned nothing tells half of them right.
    expect(Number(right)).toBeGreaterThan(80);

    const sample = join(dir, ".serval/sample");
    const bundle = await loadBundle(join(sample, "artifacts/best"));
    expect(await readFile(join(bundle.dir, "README.md"), "utf8")).toMatch(/drawing/);
    expect(bundle.manifest.labels).toEqual(["cat", "dog"]);
    const [check] = bundle.manifest.checks;
    const body = new Uint8Array(await readFile(join(bundle.dir, check?.file ?? "")));
    const response = await fetch(`${url}/predict`, { method: "POST", body, headers: { "content-type": "image/jpeg" } });
    const { probabilities } = (await response.json()) as { probabilities: Record<string, number> };
    expect(probabilities["cat"]).toBeCloseTo(check?.probabilities[0] ?? Number.NaN, 2);
    expect((await service.stop()).code).toBe(0);

    expect((await readdir(dir)).sort()).toEqual([".serval", "data", "models", "params.yaml"]);
    expect((await readdir(join(dir, ".serval"))).sort()).toEqual(["predictions.db", "sample", "tracking"]);
    expect(await readdir(join(dir, "data"), { recursive: true })).toEqual(["raw", "raw/mine.txt"]);
    expect(await readFile(join(dir, "params.yaml"), "utf8")).toBe("train:\n  epochs: 99\n");
    expect((await loadBundle(join(dir, "models/colours"))).digest).toBe(released);
  }, 240_000);

  test("does not train a second time", async () => {
    const service = up("--sample");
    await service.address();
    expect(service.text()).toContain("trained on it before");
    expect(service.text()).not.toMatch(/Run \d{8}/);
    expect((await service.stop()).code).toBe(0);
  });
});
