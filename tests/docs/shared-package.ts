import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { cloneAsItIs } from "./clone-as-it-is.ts";
import { Reader } from "./reader.ts";

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
