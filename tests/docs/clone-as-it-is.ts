import { execFile } from "node:child_process";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "./blocks.ts";

const run = promisify(execFile);

/** A clone of this repository as it is now: with what is not committed yet, and with the packages that are installed here. */
export async function cloneAsItIs(clone: string): Promise<void> {
  await run("git", ["clone", "--quiet", root, clone]);
  const { stdout: names } = await run("git", ["ls-files", "-z", "--modified", "--others", "--exclude-standard"], { cwd: root });
  const changed = names.split("\0").filter(Boolean);
  // What was removed here stays there: no page speaks of it.
  if (changed.length > 0)
    await run("cp", ["--parents", "--no-dereference", "--target-directory", clone, ...changed], { cwd: root }).catch(() => undefined);
  // .ci/run begins with npm ci, so the tests do not repeat it.
  await symlink(join(root, "node_modules"), join(clone, "node_modules"));
}
