import { existsSync } from "node:fs";
import { execFile, execFileSync } from "node:child_process";
import { appendFile, lstat } from "node:fs/promises";
import { join, posix } from "node:path";
import { promisify } from "node:util";
import { ServalError } from "../../errors/serval-error.ts";
import { readIfThere } from "../../files.ts";

/** What a git command printed; undefined where it failed, where this is not a Git repository, or where Git is not installed. */
export async function git(cwd: string, ...args: readonly string[]): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)("git", [...args], { cwd, maxBuffer: 1 << 28 });
    return stdout;
  } catch {
    return undefined;
  }
}

/** The commit that is checked out in `cwd`; undefined where there is none. */
export async function readCommit(cwd: string): Promise<string | undefined> {
  return (await git(cwd, "rev-parse", "--verify", "HEAD"))?.trim();
}

/** The commit that a branch, tag or abbreviated hash names. Throws E_GIT_REVISION. */
export async function resolveRevision(cwd: string, revision: string): Promise<string> {
  const commit = (await git(cwd, "rev-parse", "--verify", "--quiet", "--end-of-options", `${revision}^{commit}`))?.trim();
  if (commit) return commit;
  const known =
    (await git(cwd, "rev-parse", "--git-dir")) === undefined ? "This is not a Git repository." : "Git does not know this commit.";
  throw new ServalError("E_GIT_REVISION", `"${revision}": expected a branch, a tag or a commit. ${known}`);
}

/** The text of a file as a commit has it; undefined where it has none. `path` is relative to `cwd`. */
export async function readAtCommit(cwd: string, commit: string, path: string): Promise<string | undefined> {
  return await git(cwd, "show", `${commit}:./${path}`);
}

/** The bytes of an object, such as `COMMIT:./PATH`; synchronous, for what reads files as it needs them. Fails where there is none. */
export function readObject(cwd: string, name: string): Buffer {
  return execFileSync("git", ["show", name], { cwd, maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "ignore"] });
}

/** Makes Git ignore data that is versioned here, by a line in the .gitignore beside it, unless something does already. */
export async function ignoreInGit(root: string, path: string): Promise<void> {
  if ((await git(root, "rev-parse", "--git-dir")) === undefined) return;
  if ((await git(root, "check-ignore", "--quiet", "--", path)) !== undefined) return;
  // Git looks at nothing behind a link.
  if (await isBehindLink(root, path)) return;
  const file = await findIgnoreFile(root, path);
  const before = (await readIfThere(file)) ?? "";
  const gap = before === "" || before.endsWith("\n") ? "" : "\n";
  // Git's wildcards, taken literally.
  await appendFile(file, `${gap}/${posix.basename(path).replaceAll(/[[\]!*#?]/g, String.raw`\$&`)}\n`);
}

export function ignoreFileOf(path: string): string {
  return posix.join(posix.dirname(path), ".gitignore");
}

/** `git add` of those of the files that are there: what core.autostage asks for. */
export async function stageInGit(root: string, files: readonly string[]): Promise<void> {
  const there = [...new Set(files)].filter((file) => existsSync(join(root, file)));
  if (there.length > 0) await git(root, "add", "--", ...there);
}

/** The .gitignore beside `path`. Throws E_PATH_LINK where it is a link: lines are added to it, and Git does not read it either (since 2.32). */
export async function findIgnoreFile(root: string, path: string): Promise<string> {
  const file = ignoreFileOf(path);
  if ((await lstat(join(root, file)).catch(() => undefined))?.isSymbolicLink() !== true) return join(root, file);
  throw new ServalError("E_PATH_LINK", `"${file}" is a link: expected a file, to which a line for "${path}" can be added.`, {
    hint: `Replace the link by a file: Git does not read it.`,
  });
}

async function isBehindLink(root: string, path: string): Promise<boolean> {
  for (let dir = posix.dirname(path); dir !== "."; dir = posix.dirname(dir)) {
    if ((await lstat(join(root, dir)).catch(() => undefined))?.isSymbolicLink() === true) return true;
  }
  return false;
}
