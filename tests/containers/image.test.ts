import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { docker, eventually, report, root, run, serviceImage } from "./engine.ts";
import { hireOperator } from "./operator.ts";

let container: string;
let started: number;
/** What the blocks of the pages print that run the image. */
const printed = { readme: "", deployment: "" };
beforeAll(async () => {
  const operator = await hireOperator({});
  await operator.reader.follow("docs/deployment.md", "docker build -t cats-dogs-classifier:latest --build-arg");
  const others = await containers();
  printed.readme = await operator.reader.follow("README.md", "docker build");
  printed.deployment = await operator.reader.follow("docs/deployment.md", "docker build -t cats-dogs-classifier:latest .");
  for (const id of await containers()) if (!others.includes(id)) await docker("rm", "--force", "--volumes", id);
  await operator.remove();
  started = performance.now();
  container = await docker("run", "--detach", "-p", "8000:8000", serviceImage);
});
afterAll(async () => {
  await run("docker", ["rm", "--force", "--volumes", container]);
});

async function containers(): Promise<string[]> {
  return (await docker("ps", "--all", "--quiet")).split("\n").filter(Boolean);
}

test("README.md, docs/deployment.md: the image is built, run and asked as the pages say", () => {
  expect(printed.readme).toContain("7 passed, 0 failed");
  expect(printed.deployment).toMatch(/"status":"ok"[^]*"label":"cat"/);
});

const inside = async (...command: string[]): Promise<string> => await docker("exec", container, ...command);
const curl = async (...args: string[]): Promise<Record<string, unknown>> => {
  const { code, stdout, output } = await run("curl", ["--fail-with-body", "--silent", "--show-error", ...args]);
  expect(code, output).toBe(0);
  return JSON.parse(stdout) as Record<string, unknown>;
};

test("the image runs, becomes healthy by its own check, and answers the documented curl lines", async () => {
  await eventually(
    async () => (await fetch("http://127.0.0.1:8000/health/ready")).status,
    (status) => status === 200,
  );
  report(`docker run: ready after ${((performance.now() - started) / 1000).toFixed(1)} s`);
  const health = async (): Promise<string> => await docker("inspect", "--format", "{{.State.Health.Status}}", container);
  await eventually(health, (status) => status !== "starting");
  expect(await health()).toBe("healthy");
  report(`image: ${Math.round(Number(await docker("image", "inspect", "--format", "{{.Size}}", serviceImage)) / 1e6)} MB`);
  report(`docker run: healthy after ${((performance.now() - started) / 1000).toFixed(1)} s`);

  expect(await curl("localhost:8000/health")).toMatchObject({ status: "ok", model: { name: "cats-dogs" } });
  const answer = await curl("-F", "file=@test_image.jpg", "localhost:8000/predict");
  expect(answer).toMatchObject({ label: "cat", model: { name: "cats-dogs", version: expect.stringMatching(/^[0-9a-f]{12}$/) as string } });
  const probabilities = Object.values(answer["probabilities"] as Record<string, number>);
  expect(probabilities.reduce((sum, p) => sum + p)).toBeCloseTo(1, 5);
  expect(answer["confidence"]).toBe(Math.max(...probabilities));
});

test("scripts/smoke_test.sh, asked without an address, passes on it", async () => {
  const { code, output } = await run("scripts/smoke_test.sh", []);
  expect(output).toContain("7 passed, 0 failed");
  expect(code).toBe(0);
});

test("scripts/test_image.sh, which CI runs, passes on the image and leaves no container", async () => {
  const before = await docker("ps", "--all", "--quiet");
  const { code, output } = await run("scripts/test_image.sh", [serviceImage]);
  expect(output).toMatch(/running healthy after \d+ s/);
  expect(code, output).toBe(0);
  expect(await docker("ps", "--all", "--quiet")).toBe(before);
});

test("scripts/test_image.sh fails on an image without a model and shows its log", async () => {
  const { code, output } = await run("docker", ["build", "--tag", "serval-test:empty", "-"], {
    input: `FROM ${serviceImage}\nUSER root\nRUN rm -r models/*\nUSER node`,
  });
  expect(code, output).toBe(0);
  const tested = await run("scripts/test_image.sh", ["serval-test:empty"]);
  await docker("rmi", "--force", "serval-test:empty");
  expect(tested.code).not.toBe(0);
  expect(tested.output).toContain("E_BUNDLE_MISSING");
});

test("holds what the service needs and nothing else: no development package, other platform, test, data or right", async () => {
  const { Config } = (JSON.parse(await docker("image", "inspect", serviceImage)) as [{ Config: Record<string, unknown> }])[0];
  expect(Config).toMatchObject({ User: "node", ExposedPorts: { "8000/tcp": {} }, Entrypoint: ["node", "dist/cli/main.js"] });
  expect(await inside("id", "-un")).toBe("node");
  expect((await inside("ls", "-A", "/app")).split("\n").sort()).toEqual([
    "LICENSE",
    "NOTICE",
    "dist",
    "logs",
    "models",
    "node_modules",
    "package.json",
    "params.yaml",
    "sbom.cdx.json",
  ]);
  const libraries = await inside("find", "node_modules/onnxruntime-node/bin", "-type", "f");
  for (const path of libraries.split("\n")) expect(path).toMatch(/\/linux\/(x64|arm64)\//);
  const packages = (await inside("ls", "node_modules")).split("\n");
  expect(packages).toContain("fastify");
  for (const name of ["vitest", "typescript", "oxlint", "playwright-core", "node"]) expect(packages).not.toContain(name);
  expect((await run("docker", ["exec", container, "touch", "/app/dist/x"])).output).toContain("Permission denied");
});

test("its labels say what it is, and its bill of materials names every package with its version", async () => {
  const { Config } = (JSON.parse(await docker("image", "inspect", serviceImage)) as [{ Config: { Labels: Record<string, string> } }])[0];
  const label = (name: string): string | undefined => Config.Labels[`org.opencontainers.image.${name}`];
  expect(label("licenses")).toBe("Apache-2.0");
  expect([label("version"), label("revision")]).not.toContain(undefined);
  const sbom = JSON.parse(await inside("cat", "sbom.cdx.json")) as {
    readonly bomFormat: string;
    readonly components: readonly { readonly name: string; readonly version: string }[];
  };
  expect(sbom.bomFormat).toBe("CycloneDX");
  const { dependencies } = JSON.parse(await inside("cat", "package.json")) as { readonly dependencies: Readonly<Record<string, string>> };
  const listed = new Map(sbom.components.map(({ name, version }) => [name, version]));
  for (const [name, version] of Object.entries(dependencies)) expect(listed.get(name), name).toBe(version);
  for (const name of ["vitest", "typescript"]) expect(listed.has(name)).toBe(false);
});

test("every file of it has the date that the build was told, so that the same files give the same layers", async () => {
  const other = "-not ( -newermt 2024-12-31 -not -newermt 2025-01-02 )".split(" ");
  expect(await inside("find", "/app", "/models", ...other, "-not", "-path", "/app/logs/*", "-not", "-path", "/app/logs")).toBe("");
});

/** A DNS server that resolves no names and prints each one that it is asked for. */
const nameServer = `
  const socket = require("node:dgram").createSocket("udp4");
  socket.on("message", (query, { port, address }) => {
    const labels = [];
    for (let at = 12; query[at] > 0; at += query[at] + 1) labels.push(query.toString("latin1", at + 1, at + 1 + query[at]));
    console.log(labels.join("."));
    const answer = Buffer.from(query);
    answer.writeUInt16BE(0x8183, 2);
    socket.send(answer, port, address);
  });
  socket.bind(53, () => console.log("ready"));
`;

test("predictions write nothing outside its logs and its cache of compiled modules, and look up no name", async ({ onTestFinished }) => {
  const start = async (...args: string[]): Promise<string> => {
    const id = await docker("run", "--detach", ...args);
    onTestFinished(async () => void (await run("docker", ["rm", "--force", "--volumes", id])));
    return id;
  };
  const names = await start("--user", "0", "--entrypoint", "node", serviceImage, "--eval", nameServer);
  const askedFor = async (): Promise<string[]> => (await docker("logs", names)).split("\n");
  await eventually(askedFor, (lines) => lines.includes("ready"));
  const address = await docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", names);
  // Serval's own switch is to be seen, so the image's variable is taken away.
  const quiet = await start("--dns", address, "--env", "ORT_DISABLE_TELEMETRY=", "--publish", "127.0.0.1::8000", serviceImage);
  const url = `http://${await docker("port", quiet, "8000/tcp")}`;
  await eventually(
    async () => (await fetch(`${url}/health/ready`)).status,
    (status) => status === 200,
  );
  const body = await readFile(join(root, "test_image.jpg"));
  for (let i = 0; i < 20; i++) {
    const answer = await fetch(`${url}/predict`, { method: "POST", headers: { "content-type": "image/jpeg" }, body });
    expect(await answer.json()).toMatchObject({ label: "cat" });
  }
  const ours = ["/app/logs", `${await docker("exec", quiet, "printenv", "HOME")}/.cache/serval`];
  // Of the folders above them, that something in them is new.
  const isOurs = (path: string): boolean => ours.some((folder) => `${path}/`.startsWith(`${folder}/`) || folder.startsWith(`${path}/`));
  const changed = async (): Promise<string[]> => {
    const lines = (await docker("diff", quiet)).split("\n");
    return lines.map((line) => line.slice(2)).filter((path) => !isOurs(path));
  };
  expect(await changed()).toEqual([]);
  expect(await askedFor()).toEqual(["ready"]);
  // Both would have been seen.
  const control = 'require("node:fs").writeFileSync("/tmp/seen", ""); require("node:dns").lookup("seen.invalid", () => {})';
  await docker("exec", quiet, "node", "--eval", control);
  expect(await changed()).toContain("/tmp/seen");
  expect(await askedFor()).toContain("seen.invalid");
});

test("docker stop ends it in time, with 0", async () => {
  const asked = performance.now();
  await docker("stop", container);
  const seconds = (performance.now() - asked) / 1000;
  expect(await docker("inspect", "--format", "{{.State.ExitCode}}", container)).toBe("0");
  expect(seconds).toBeLessThan(9);
  report(`docker stop: ${seconds.toFixed(1)} s`);
});
