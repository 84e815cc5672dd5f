import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startServal } from "../helpers/serval-process.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const built = join(root, "build/package");
let dir: string;

/** Makes the package as release.yml does, and installs it in an empty project. */
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-package-"));
  await run("npm", ["run", "--silent", "build:package"], { cwd: root });
  const { stdout } = await run("npm", ["pack", "--silent", "--pack-destination", dir], { cwd: built });
  await writeFile(join(dir, "package.json"), '{ "private": true, "type": "module" }\n');
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" };
  await run("npm", ["install", "--no-audit", "--no-fund", join(dir, stdout.trim())], { cwd: dir, env });
}, 300_000);
afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

test("publint and attw find nothing wrong with the package", async () => {
  const { stdout } = await run("npx", ["publint", built, "--strict"], { cwd: root });
  expect(stdout).toContain("All good!");
  await run("npx", ["attw", "--profile", "esm-only", "--pack", built], { cwd: root });
});

test("`serval up` of the installed package trains on the drawn sample and serves, and its types and functions can be imported", async () => {
  const service = startServal(dir, ["up"], { SERVAL_PORT: "0" }, join(dir, "node_modules/.bin/serval"));
  const health = await (await fetch(`${await service.address()}/health`)).json();
  expect(health).toMatchObject({ status: "ok", model: { name: "drawn-sample" } });
  expect((await service.stop("SIGTERM")).code).toBe(0);
  const program = `import { loadBundle, ServalError } from "serval"; console.log(typeof loadBundle, ServalError.name);`;
  await writeFile(join(dir, "import.js"), program);
  expect((await run(process.execPath, ["import.js"], { cwd: dir })).stdout.trim()).toBe("function ServalError");
});
