import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, parseDocument } from "yaml";
import { paramPaths } from "../../src/config/params.ts";
import { writePatternSet } from "./pattern-set.ts";
import { runServal, type ProcessResult } from "./serval-process.ts";

/** A network and pictures small enough to train in seconds. */
const smallParams: Readonly<Record<string, string>> = {
  width: "48",
  height: "48",
  channels: "[16, 16, 32, 32]",
  cropSize: "48",
  batchSize: "16",
  threads: "2",
};

/** Runs `serval ARGS` and returns what it printed; a failure shows all of it. */
export async function mustRun(cwd: string, args: readonly string[]): Promise<ProcessResult> {
  const result = await runServal(cwd, args);
  if (result.code !== 0) throw new Error(`serval ${args.join(" ")} ended with ${result.code}:\n${result.stdout}\n${result.stderr}`);
  return result;
}

/**
 * Sets parameters in a params.yaml by their last name, keeping its comments, as a user would with an editor. One that describes a network
 * (`channels`) asks for a training from scratch, with weights of 32 bits; `serval init` asks for neither.
 */
export async function editParams(cwd: string, values: Readonly<Record<string, string>>): Promise<void> {
  const path = join(cwd, "params.yaml");
  const document = parseDocument(await readFile(path, "utf8"));
  for (const [key, value] of Object.entries(values)) {
    const [place, ...others] = paramPaths().filter((name) => name.endsWith(`.${key}`));
    if (place === undefined || others.length > 0) throw new Error(`params.yaml has no ${key}, or more than one`);
    document.setIn(place.split("."), parse(value));
  }
  if ("channels" in values) {
    document.setIn(["train", "backbone"], "none");
    document.deleteIn(["train", "strategy"]);
    document.setIn(["model", "precision"], "float32");
  }
  await writeFile(path, document.toString());
}

/** In `cwd`: the five drawn patterns, set up, imported and prepared by the command line. */
export async function preparePatterns(cwd: string, epochs: number): Promise<void> {
  await writePatternSet(join(cwd, "patterns"));
  await mustRun(cwd, ["init", "--name", "patterns"]);
  await editParams(cwd, { ...smallParams, epochs: String(epochs) });
  await mustRun(cwd, ["data", "import"]);
  await mustRun(cwd, ["prepare"]);
}

/** The same, and trained. */
export async function trainPatterns(cwd: string, epochs: number): Promise<void> {
  await preparePatterns(cwd, epochs);
  await mustRun(cwd, ["train"]);
}
