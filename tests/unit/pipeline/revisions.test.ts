import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runCli } from "../../../src/cli/main.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), "serval-revisions-"));
  await writeFile(join(cwd, "params.yaml"), "train:\n  epochs: 2\n");
});
afterEach(async () => await rm(cwd, { recursive: true }));

async function compare(revision: string): Promise<[code: number, stderr: string]> {
  const context = recordedContext(cwd);
  return [await runCli(["params", "diff", revision], context), context.stderr.text];
}

test("a commit that Git does not know is refused by its name, also where the name looks like an option", async () => {
  expect(await compare("main")).toEqual([
    2,
    expect.stringContaining('E_GIT_REVISION: "main": expected a branch, a tag or a commit. This is not a Git repository.'),
  ]);
  execFileSync("git", ["init", "--quiet"], { cwd });
  for (const name of ["nowhere", "deadbeef", "HEAD~1"]) {
    expect(await compare(name)).toEqual([
      2,
      expect.stringContaining(`E_GIT_REVISION: "${name}": expected a branch, a tag or a commit. Git does not know this commit.`),
    ]);
  }
});
