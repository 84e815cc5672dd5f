import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** The commit that is checked out in `cwd`; undefined where that is no Git repository, it has no commit, or there is no git. */
export async function readCommit(cwd: string): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)("git", ["rev-parse", "--verify", "HEAD"], { cwd });
    return stdout.trim();
  } catch {
    return undefined;
  }
}
