import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { TestProject } from "vitest/node";
import { root } from "./blocks.ts";
import { Reader } from "./reader.ts";

const run = promisify(execFile);

declare module "vitest" {
  export interface ProvidedContext {
    /** A clone of this repository as it is now, with what is not committed yet. */
    readonly clone: string;
    /** A folder that the packed package is installed in, as README.md says. Tests copy it. */
    readonly installed: string;
  }
}

/** The package is packed and installed once for all tests of the pages, by the commands of README.md. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), "serval-docs-"));
  const [clone, installed] = [join(folder, "serval"), join(folder, "installed")];
  await cloneAsItIs(clone);
  await mkdir(installed);
  await (await Reader.in(clone)).follow("README.md", "npm ci && npm run build:package", { put: { "npm ci && ": "" } });
  await (await Reader.in(installed)).follow("README.md", "ONNXRUNTIME_NODE_INSTALL=skip npm install", { put: { "PATH/TO": clone } });
  project.provide("clone", clone);
  project.provide("installed", installed);
  return async () => await rm(folder, { recursive: true });
}

async function cloneAsItIs(clone: string): Promise<void> {
  await run("git", ["clone", "--quiet", root, clone]);
  const { stdout: names } = await run("git", ["ls-files", "-z", "--modified", "--others", "--exclude-standard"], { cwd: root });
  const changed = names.split("\0").filter(Boolean);
  // What was removed here stays there: no page speaks of it.
  if (changed.length > 0)
    await run("cp", ["--parents", "--no-dereference", "--target-directory", clone, ...changed], { cwd: root }).catch(() => undefined);
  // .ci/run begins with npm ci, so the tests do not repeat it.
  await symlink(join(root, "node_modules"), join(clone, "node_modules"));
}
