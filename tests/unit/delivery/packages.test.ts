import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../../..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const manifest = JSON.parse(read("package.json")) as Readonly<Record<"dependencies" | "devDependencies", Readonly<Record<string, string>>>>;
const { packages } = JSON.parse(read("package-lock.json")) as {
  readonly packages: Readonly<Record<string, { readonly version?: string; readonly integrity?: string; readonly resolved?: string }>>;
};

test("package.json names one version of each package, and the lockfile has that one", () => {
  const wanted = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies });
  expect(wanted.length).toBeGreaterThan(30);
  expect(wanted.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  expect(wanted.filter(([name, version]) => packages[`node_modules/${name}`]?.version !== version)).toEqual([]);
});

test("the lockfile has a hash for each package, and takes all of them from one registry", () => {
  const locked = Object.entries(packages).filter(([path]) => path !== "");
  expect(locked.length).toBeGreaterThan(400);
  expect(locked.filter(([, { integrity = "" }]) => !/^sha512-[\w+/]{86}==$/.test(integrity)).map(([path]) => path)).toEqual([]);
  // Without an address a package comes from the registry that npm is set to.
  expect(new Set(locked.map(([, { resolved }]) => resolved && new URL(resolved).origin)).size).toBe(1);
});

test("the site of the documents has packages of one version too, each with its hash", () => {
  const { devDependencies } = JSON.parse(read("site/package.json")) as typeof manifest;
  expect(Object.values(devDependencies).filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  const locked = Object.entries((JSON.parse(read("site/package-lock.json")) as { packages: typeof packages }).packages);
  expect(locked.filter(([path, { integrity = "" }]) => path !== "" && !integrity.startsWith("sha512-"))).toEqual([]);
});

test("only one package may run a script when it is installed, and the image runs none", () => {
  expect(JSON.parse(read("package.json"))).toHaveProperty("allowScripts", { node: true, "onnxruntime-node": false });
  const installs = [...read("Dockerfile").matchAll(/npm (?:ci|install) .*/g)].map(([line]) => line);
  expect(installs.length).toBeGreaterThan(1);
  expect(installs.filter((line) => !line.includes("--ignore-scripts"))).toEqual([]);
});

test("what Python installs into the image of MLflow has one version and its hashes", () => {
  const requirements = read("deployment/mlflow/requirements.txt").replaceAll("\\\n", "").split("\n");
  const packages = requirements.filter((line) => line !== "" && !line.trimStart().startsWith("#"));
  expect(packages.length).toBeGreaterThan(50);
  expect(packages.filter((line) => !/^[\w.-]+(\[\w+\])?==[\w.]+ .*--hash=sha256:[0-9a-f]{64}/.test(line))).toEqual([]);
});
