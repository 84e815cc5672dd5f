import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ServalError } from "../../../src/errors/serval-error.ts";
import { sha256 } from "../../../src/files.ts";
import { fetchRegisteredModel } from "../../../src/registry/fetch.ts";
import { createTrackingClient, type TrackingClient } from "../../../src/tracking/client/tracking-client.ts";
import { createRegistryClient, type RegistryClient } from "../../../src/tracking/client/registry-client.ts";
import {
  drip,
  endless,
  endlessHeaders,
  json,
  page,
  redirect,
  startLyingServer,
  type Lie,
  type LyingServer,
} from "../../helpers/lying-server.ts";

const password = "correct-horse";
const root = "mlflow-artifacts:/1/run/artifacts";
const options = { requestTimeoutMs: 1500, fileTimeoutMs: 400 };

let server: LyingServer;
/** An address that the user did not give. */
let canary: LyingServer;
let dir: string;
let tracking: TrackingClient;
let registry: RegistryClient;
beforeEach(async () => {
  [server, canary] = [await startLyingServer(), await startLyingServer()];
  dir = await mkdtemp(join(tmpdir(), "serval-lying-"));
  const uri = server.url.replace("//", `//user:${password}@`);
  [tracking, registry] = [createTrackingClient(uri, options), createRegistryClient(uri, options)];
});
afterEach(async () => {
  expect(canary.requests).toEqual([]);
  for (const one of [server, canary]) await one.close();
  await rm(dir, { recursive: true });
});

/** One request of each kind: a GET and a POST of JSON, a list of files, a file, and a file that is sent. */
const requests: readonly (readonly [what: string, send: () => Promise<unknown>])[] = [
  ["GET", async () => await registry.getVersion("m", "1")],
  ["POST", async () => await tracking.createRun({ experimentId: "1", name: "r", startTime: 1, tags: [] })],
  ["a list of files", async () => await registry.listArtifacts(root)],
  ["a file", async () => await registry.downloadArtifact(root, "a", join(dir, "a"), 1_000_000)],
  ["an upload", async () => await registry.uploadArtifact(root, "a", new Blob(["a"]))],
];

/** Every kind of request fails with a tracking error, soon, without much memory, and leaves no file. */
async function expectFailures(lie: Lie, code: RegExp, message = /./): Promise<void> {
  server.answer = lie;
  const before = process.memoryUsage().rss;
  await Promise.all(
    requests.map(async ([what, send]) => {
      const startedAt = performance.now();
      const failure = await send().then(
        () => "an answer",
        (error: unknown) => error,
      );
      expect([what, failure]).toEqual([what, expect.any(ServalError)]);
      expect([what, (failure as ServalError).code]).toEqual([what, expect.stringMatching(code)]);
      expect((failure as ServalError).message).toMatch(message);
      expect((failure as ServalError).message).not.toContain(password);
      expect((failure as ServalError).message.length).toBeLessThan(600);
      expect(performance.now() - startedAt).toBeLessThan(3000);
    }),
  );
  expect(await readdir(dir)).toEqual([]);
  expect(process.memoryUsage().rss - before).toBeLessThan(400e6);
}

describe("a tracking server that sends requests elsewhere", () => {
  test.each<[string, () => string]>([
    ["another host", () => `${canary.url}/x`],
    ["another host without a scheme", () => `//${canary.host}/x`],
    ["another host with a password", () => `http://user:${password}@${canary.host}/x`],
    ["cloud metadata", () => "http://169.254.169.254/latest/meta-data/"],
    ["cloud metadata as a number", () => "http://2852039166/"],
    ["a file", () => "file:///etc/passwd"],
    ["no address at all", () => "http://["],
  ])("to %s is not obeyed", async (_what, location) => {
    for (const status of [301, 302, 303, 307, 308]) {
      await expectFailures(redirect(location(), status), /^E_TRACKING_REFUSED$/, /a redirect to .*, which is not followed/);
    }
  });

  test("in a circle is not followed for long", async () => {
    server.answer = (request, response) => redirect(`${request.url}x`)(request, response);
    await expect(registry.getVersion("m", "1")).rejects.toMatchObject({ code: "E_TRACKING_REFUSED", message: /more than 5 redirects/ });
    expect(server.requests).toHaveLength(6);
  });

  test("within its own address is followed, with the password", async () => {
    server.answer = (request, response) => {
      if (request.url?.endsWith("moved") === true) json({ model_version: { name: "m", version: 1 } })(request, response);
      else redirect("/moved", 307)(request, response);
    };
    expect(await registry.getVersion("m", "1")).toMatchObject({ name: "m", version: "1" });
    expect(server.headers.map(({ authorization }) => authorization)).toEqual(Array(2).fill(expect.stringMatching(/^Basic /)));
  });
});

describe("a tracking server that does not end", () => {
  test("its bodies", async () => {
    const lie = endless();
    await expectFailures(lie, /^E_TRACKING_(REFUSED|UNREACHABLE)$/);
    expect(lie.sent).toBeLessThan(5 * 33e6 + 50e6);
  });

  test("the bodies of its refusals", async () => {
    const lie = endless(500);
    await expectFailures(lie, /^E_TRACKING_UNREACHABLE$/, /500: x+$/);
    expect(lie.sent).toBeLessThan(50e6);
  });

  test("its bodies, of a byte now and then", async () => await expectFailures(drip(50), /^E_TRACKING_UNREACHABLE$/));

  test("its headers, of a few now and then, or of many", async () => {
    await expectFailures(endlessHeaders(50), /^E_TRACKING_UNREACHABLE$/);
    await expectFailures(endlessHeaders(0), /^E_TRACKING_UNREACHABLE$/);
  });

  test("its pages", async () => {
    const lists = [
      { key: "registered_models", read: async () => await registry.listRegisteredModels() },
      { key: "model_versions", read: async () => await registry.listVersions("m") },
      { key: "metrics", read: async () => await tracking.metricHistory("r", "loss") },
    ];
    const item = { name: "m", version: 1, value: 1, timestamp: 1 };
    for (const { key, read } of lists) {
      for (const items of [[], [item]]) {
        server.requests.length = 0;
        server.answer = json({ [key]: items, next_page_token: "again" });
        await expect(read()).rejects.toMatchObject({ code: "E_TRACKING_REFUSED", message: /pages that do not end/ });
        expect(server.requests.length).toBeLessThan(4);
      }
    }
  });
});

describe("a tracking server whose answers are not what they say", () => {
  test("by their length", async () => {
    await expectFailures((_request, response) => {
      response.writeHead(200, { "content-length": 1000 }).write("{");
      setTimeout(() => response.destroy(), 20);
    }, /^E_TRACKING_UNREACHABLE$/);
  });

  test("pages of HTML with the password and with commands for the terminal", async () => {
    for (const status of [400, 404, 502]) {
      // oxlint-disable-next-line no-control-regex -- none of them may be left
      await expectFailures(page(status), /^E_TRACKING_(REFUSED|UNREACHABLE)$/, /^[^\0-\x1f\x7f-\x9f\u202e]*$/);
    }
  });

  const right = {
    experiment: { experiment_id: "1" },
    run: { info: { run_id: "r", experiment_id: "1", artifact_uri: root, status: "FINISHED" }, data: {} },
    runs: [{ info: { run_id: "r", experiment_id: "1", artifact_uri: root, status: "FINISHED" } }],
    models: [{ info: { model_id: "m", artifact_uri: root } }],
    model: { info: { model_id: "m", artifact_uri: root } },
    registered_model: { name: "m", tags: [{ key: "a", value: "b" }], aliases: [{ alias: "champion", version: 1 }] },
    registered_models: [{ name: "m" }],
    model_version: { name: "m", version: 1, tags: [{ key: "__proto__", value: "x" }] },
    model_versions: [{ name: "m", version: "1" }],
    metrics: [{ key: "loss", value: 1, timestamp: 1 }],
    files: [{ path: "a/b", is_dir: false, file_size: "1" }],
    artifact_uri: root,
  };
  /** Which part of the answer a call reads. */
  const calls: readonly (readonly [key: keyof typeof right, call: () => Promise<unknown>])[] = [
    ["experiment", async () => await tracking.ensureExperiment("e")],
    ["runs", async () => await tracking.findRun("1", { key: "a", value: "b" })],
    ["run", async () => await tracking.createRun({ experimentId: "1", name: "r", startTime: 1, tags: [] })],
    ["run", async () => await tracking.getRun("r")],
    ["metrics", async () => await tracking.metricHistory("r", "loss")],
    ["models", async () => await tracking.findLoggedModel("1", { key: "a", value: "b" })],
    ["model", async () => await tracking.createLoggedModel({ experimentId: "1", name: "m", tags: [] })],
    ["registered_model", async () => await registry.getRegisteredModel("m")],
    ["registered_models", async () => await registry.listRegisteredModels()],
    ["model_version", async () => await registry.createVersion({ name: "m", source: "s" })],
    ["model_version", async () => await registry.getVersion("m", "1")],
    ["model_versions", async () => await registry.listVersions("m")],
    ["artifact_uri", async () => await registry.artifactRootOf("m", "1")],
    ["files", async () => await registry.listArtifacts(root)],
  ];
  const broken: readonly unknown[] = ["null", "1", '"x"', "[]", "{}", "", "{", '{"__proto__":{"info":{}}}'];
  const deep = `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`;
  const wrong: readonly unknown[] = [null, 1, "text", true, [], [null], [1], ["x"], [[]], {}, { info: null }, { info: {} }, [{ info: [] }]];

  test("by their shape: each is an answer or a refusal, and never anything else", async () => {
    let refused = 0;
    for (const [key, call] of calls) {
      server.answer = json(right);
      await call();
      const value = right[key];
      const [item, wrap] = Array.isArray(value) ? [value[0] as object, (x: unknown) => [x]] : [value, (x: unknown) => x];
      const bodies = [
        ...broken,
        deep,
        ...wrong.map((bad) => ({ ...right, [key]: bad })),
        // One step deeper: each field of the object.
        ...Object.keys(Object(item) as object).flatMap((field) =>
          [null, 7, {}, [], [{}]].map((bad) => ({ ...right, [key]: wrap({ ...(item as object), [field]: bad }) })),
        ),
      ];
      for (const body of bodies) {
        server.answer = json(body);
        const failure = await call().then(
          () => undefined,
          (error: unknown) => error,
        );
        if (failure === undefined) continue;
        refused++;
        expect([JSON.stringify(body).slice(0, 200), (failure as ServalError).code]).toEqual([expect.any(String), "E_TRACKING_REFUSED"]);
      }
    }
    expect(refused).toBeGreaterThan(200);
    expect(({} as { info?: unknown }).info).toBeUndefined();
  });

  test("lists of files whose names lead elsewhere, or are there twice", async () => {
    for (const path of ["..", "a/..", ".", "a/", "", "C:\\x", "a\\b", "a\0b", "a:b"]) {
      server.answer = json({ files: [{ path, is_dir: false }] });
      await expect(registry.listArtifacts(root)).rejects.toMatchObject({
        code: "E_TRACKING_REFUSED",
        message: /expected the name of a file/,
      });
    }
    server.answer = json({ files: [{ path: "x/a" }, { path: "y/a" }] });
    await expect(registry.listArtifacts(root)).rejects.toMatchObject({ code: "E_TRACKING_REFUSED", message: /expected each name once/ });
    server.answer = json({ files: Array.from({ length: 50_000 }, (_, i) => ({ path: `x/${i}` })) });
    expect(await registry.listArtifacts(root)).toHaveLength(50_000);
  });
});

describe("a registry that hands out models", () => {
  const manifest = (files: Record<string, string>): string =>
    JSON.stringify({
      formatVersion: 1,
      name: "m",
      labels: ["a", "b"],
      preprocess: { orient: true, width: 8, height: 8, fit: "squash", kernel: "linear", crop: null },
      abstainBelow: null,
      metrics: {},
      reference: {},
      dataVersion: "x",
      paramsHash: "x",
      seed: 1,
      checks: [],
      files,
    });

  /** Version 1 of "m", with these files; a file that is not among them is 404. */
  function serve(files: Readonly<Record<string, string | Lie>>, { artifactUri = root, digest = "" } = {}): void {
    const tag = digest || (typeof files["bundle.json"] === "string" ? sha256(files["bundle.json"]) : sha256(""));
    server.answer = (request, response) => {
      const path = new URL(request.url ?? "", server.url).pathname;
      if (path.endsWith("model-versions/get")) {
        const version = { name: "m", version: "1", source: "file:///etc/passwd", tags: [{ key: "serval.digest", value: tag }] };
        return json({ model_version: version })(request, response);
      }
      if (path.endsWith("get-download-uri")) return json({ artifact_uri: artifactUri })(request, response);
      const file = files[decodeURIComponent(path.split("/artifacts/").at(-1) ?? "")];
      if (file === undefined) return json({ error_code: "RESOURCE_DOES_NOT_EXIST" }, 404)(request, response);
      return typeof file === "string" ? response.end(file) : file(request, response);
    };
  }

  const fetchModel = async (): Promise<unknown> =>
    await fetchRegisteredModel({ registry, reference: { name: "m", version: "1" }, cacheDir: join(dir, "cache") });

  async function expectRefusal(code: string, message: RegExp): Promise<void> {
    await expect(fetchModel()).rejects.toMatchObject({ code, message });
    expect(await readdir(join(dir, "cache")).catch(() => [])).toEqual([]);
    await rm(join(dir, "cache"), { recursive: true, force: true });
  }

  test("from another place than itself is refused", async () => {
    for (const artifactUri of ["file:///etc", "/etc", `${canary.url}/x`, "s3://bucket/x", `dbfs:/x`, ""]) {
      serve({ "bundle.json": manifest({}) }, { artifactUri });
      await expectRefusal("E_TRACKING_REFUSED", /does not hand out files/);
    }
    // The host in such an address is the server itself, whatever it says.
    serve({ "bundle.json": manifest({}) }, { artifactUri: `mlflow-artifacts://${canary.host}/1/run/artifacts` });
    await expectRefusal("E_BUNDLE_CORRUPT", /model\.onnx is not among them/);
  });

  test("whose files lie outside, are too many or too large, is refused", async () => {
    const hash = sha256("x");
    for (const path of ["../x", "/etc/x", "a/../../x", "..", "a\\..\\x", "C:x", "a//b", "bundle.json"]) {
      serve({ "bundle.json": manifest({ "model.onnx": hash, [path]: hash }), "model.onnx": "x" });
      await expectRefusal("E_BUNDLE_CORRUPT", /is not a path inside|outside/);
    }
    const many = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`f${i}`, hash]));
    serve({ "bundle.json": manifest({ "model.onnx": hash, ...many }), "model.onnx": "x" });
    await expectRefusal("E_REGISTRY_CORRUPT", /20001 files/);
    const lie = endless();
    serve({ "bundle.json": lie });
    await expectRefusal("E_TRACKING_REFUSED", /a body of more than 16777216 bytes/);
    expect(lie.sent).toBeLessThan(40e6);
  });

  test("whose bytes are not the ones that were registered is refused", async () => {
    const text = manifest({ "model.onnx": sha256("x") });
    serve({ "bundle.json": `${text} `, "model.onnx": "x" }, { digest: sha256(text) });
    await expectRefusal("E_REGISTRY_CORRUPT", /should have a bundle\.json with the SHA-256/);
    serve({ "bundle.json": text, "model.onnx": "y" });
    await expectRefusal("E_REGISTRY_CORRUPT", /should have a model\.onnx with the SHA-256/);
    serve({ "bundle.json": text });
    await expectRefusal("E_REGISTRY_CORRUPT", /lacks model\.onnx/);
    serve({ "bundle.json": text, "model.onnx": redirect(`${canary.url}/model`) });
    await expectRefusal("E_TRACKING_REFUSED", /redirect/);
  });
});
