import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { championAlias } from "../../../src/registry/versions.ts";
import { fetchRegisteredModel } from "../../../src/registry/fetch.ts";
import { promote, readStanding, rollback } from "../../../src/registry/promote.ts";
import { registerBundle } from "../../../src/registry/register.ts";
import { followRegistry } from "../../../src/serve/model/registry-source.ts";
import { createTrackingClient } from "../../../src/tracking/client/tracking-client.ts";
import { createRegistryClient, type RegistryClient } from "../../../src/tracking/client/registry-client.ts";
import { openEmbeddedTracking } from "../../../src/tracking/server/tracking-server.ts";
import { startServal } from "../../helpers/serval-process.ts";
import { getJson, startTestService } from "../../helpers/service.ts";
import { writeTinyBundle } from "../../helpers/tiny-bundle.ts";

interface Registry {
  readonly dir: string;
  readonly url: string;
  readonly registry: RegistryClient;
  /** A model with the given sharpness as the next version; its bundle lies in `folder`. */
  readonly register: (folder: string, sharpness: number) => Promise<void>;
  readonly crown: (version: string) => Promise<void>;
  /** Both, for a version that has the number of its folder. */
  readonly makeChampion: (version: string, sharpness: number) => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** A registry in its own folder; the test removes both at its end. */
async function startRegistry(): Promise<Registry> {
  const dir = await mkdtemp(join(tmpdir(), "serval-registry-"));
  const server = await openEmbeddedTracking(join(dir, "tracking"));
  let open = true;
  const stop = async (): Promise<void> => {
    if (open) await server.close();
    open = false;
  };
  onTestFinished(async () => {
    await stop();
    await rm(dir, { recursive: true, force: true });
  });
  const [tracking, registry] = [createTrackingClient(server.url), createRegistryClient(server.url)];
  const register = async (folder: string, sharpness: number): Promise<void> => {
    const bundle = await writeTinyBundle(join(dir, folder), { sharpness });
    await registerBundle({ tracking, registry, bundle, name: "colours" });
  };
  const crown = async (version: string): Promise<void> => {
    const { champion } = await readStanding(registry, "colours");
    await promote({ registry, name: "colours", version, over: champion, comparison: null });
  };
  const makeChampion = async (version: string, sharpness: number): Promise<void> => {
    await register(version, sharpness);
    await crown(version);
  };
  return { dir, url: server.url, registry, register, crown, makeChampion, stop };
}

test("a service follows the champion of a registry: promoted, rolled back, down, and a version whose files are damaged", async () => {
  const { dir, registry, register, crown, stop } = await startRegistry();
  await register("one", 4);
  await register("two", 3);
  await crown("1");

  const reference = { name: "colours", alias: championAlias };
  const fetchModel = async (signal?: AbortSignal): ReturnType<typeof fetchRegisteredModel> =>
    await fetchRegisteredModel({ registry, reference, cacheDir: join(dir, "cache"), ...(signal && { signal }) });
  const first = await fetchModel();
  const service = await startTestService({
    service: { modelDir: first.dir, modelVersion: first.version, source: followRegistry(fetchModel, 50) },
  });
  onTestFinished(async () => service.close());
  const serves = async (): Promise<string> => (await getJson(service, "/health")).body.model.version as string;
  expect(await serves()).toBe("1");

  await crown("2");
  await expect.poll(serves, { timeout: 20_000 }).toBe("2");
  await rollback(registry, "colours");
  await expect.poll(serves, { timeout: 20_000 }).toBe("1");

  await register("three", 2);
  const root = await registry.artifactRootOf("colours", "3");
  await writeFile(join(dir, "tracking/artifacts", new URL(root).pathname, "model.onnx"), "other bytes");
  await crown("3");
  const refused = async (): Promise<unknown> => (await getJson(service, "/model")).body.refused as unknown;
  await expect.poll(refused, { timeout: 20_000 }).toMatchObject({ version: "3", code: "E_REGISTRY_CORRUPT" });
  expect(await serves()).toBe("1");

  await stop();
  expect(await serves()).toBe("1");
  expect((await fetchModel()).trouble).toMatchObject({ code: "E_TRACKING_UNREACHABLE" });
});

test("what is downloaded of a registry goes when no address names it any more, except for the previous version and new ones", async () => {
  const { dir, registry, makeChampion } = await startRegistry();
  const cacheDir = join(dir, "cache");
  const fetchModel = async (reference: { alias: string } | { version: string }): Promise<string> =>
    (await fetchRegisteredModel({ registry, reference: { name: "colours", ...reference }, cacheDir })).digest;
  const kept = async (): Promise<string[]> => (await readdir(cacheDir)).filter((name) => name !== "refs");
  const digests: string[] = [];
  for (const version of ["1", "2", "3", "4", "5"]) {
    await makeChampion(version, Number(version));
    // The second has its own address as well.
    if (version === "2") await fetchModel({ version });
    const digest = await fetchModel({ alias: championAlias });
    digests.push(digest);
    // As if it had been there for two hours; the third has just come.
    const time = Date.now() / 1000 - 7200;
    if (version !== "3") await utimes(join(cacheDir, digest), time, time);
  }
  expect((await kept()).toSorted()).toEqual(digests.slice(1).toSorted());
});

test("a disk without room for the new version leaves a service that starts the version that it had last", async () => {
  const { dir, url, makeChampion } = await startRegistry();
  const [reference, cacheDir] = [{ name: "colours", alias: championAlias }, join(dir, "cache")];
  const module = (path: string): string => JSON.stringify(join(import.meta.dirname, "../../../src", path));
  /** Fetches in a process that may not write a file larger than this many KiB. */
  const fetchLimited = async (kibibytes: number, lastGood: boolean): Promise<unknown> => {
    const script = `import { fetchRegisteredModel } from ${module("registry/fetch.ts")};
      import { createRegistryClient } from ${module("tracking/client/registry-client.ts")};
      const options = { registry: createRegistryClient(${JSON.stringify(url)}), ...${JSON.stringify({ reference, cacheDir, lastGood })} };
      try { const { version, trouble } = await fetchRegisteredModel(options); console.log(JSON.stringify([version, trouble?.code ?? null])); }
      catch (error) { console.log(JSON.stringify([error.code])); }`;
    const command = `ulimit -f ${kibibytes}; exec "$0" --input-type=module -e "$1"`;
    const { stdout } = await promisify(execFile)("bash", ["-c", command, process.execPath, script]);
    return JSON.parse(stdout);
  };
  await makeChampion("1", 4);
  expect(await fetchLimited(100_000, true)).toEqual(["1", null]);
  await makeChampion("2", 3);
  expect(await fetchLimited(0, true)).toEqual(["1", "E_DISK_FULL"]);
  expect(await fetchLimited(0, false)).toEqual([expect.stringMatching(/^(EFBIG|E_DISK_FULL)$/)]);
  expect(await fetchLimited(100_000, true)).toEqual(["2", null]);
});

test("a service that starts takes the last model that it had while the registry is down or names a damaged version", async () => {
  const { dir, url, registry, makeChampion, stop } = await startRegistry();
  /** Starts a service, and says which version it serves and what it remarked. */
  const start = async (): Promise<{ version: unknown; remarks: string }> => {
    const args = ["serve", "--port", "0", "--model", `models:/colours@${championAlias}`];
    const serving = startServal(dir, args, { MLFLOW_TRACKING_URI: url, SERVAL_STATE_DIR: join(dir, "state") });
    const health = (await (await fetch(`${await serving.address()}/health`)).json()) as { model: { version: unknown } };
    const { stderr } = await serving.stop("SIGTERM");
    return { version: health.model.version, remarks: stderr };
  };
  await makeChampion("1", 4);
  expect((await start()).version).toBe("1");

  await makeChampion("2", 3);
  const root = await registry.artifactRootOf("colours", "2");
  await writeFile(join(dir, "tracking/artifacts", new URL(root).pathname, "model.onnx"), "other bytes");
  const damaged = await start();
  expect(damaged.version).toBe("1");
  expect(damaged.remarks).toMatch(/E_REGISTRY_CORRUPT: Version 2 of "colours"[\s\S]*Continuing with version 1/);

  await stop();
  const down = await start();
  expect(down.version).toBe("1");
  expect(down.remarks).toMatch(/E_TRACKING_UNREACHABLE: [\s\S]*Continuing with version 1/);
});
