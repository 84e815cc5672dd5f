import type { OutputCache } from "../cache/output-cache.ts";
import { git, readAtCommit } from "../dvc-files/git.ts";
import { parseLock, type LockedStage } from "../dvc-files/lock-file.ts";
import { workspaceReader } from "../dvc-files/workspace-files.ts";

/** Where a dvc.lock records data with a given hash. */
export interface Recorded {
  /** The first commit that records it; null: only the workspace does. */
  readonly commit: string | null;
  readonly stage: string;
  /** The out, as dvc.lock names it. */
  readonly out: string;
  readonly entry: LockedStage;
  /** All stages of that dvc.lock. */
  readonly lock: ReadonlyMap<string, LockedStage>;
}

/**
 * Finds the stage whose out has this hash: in the commits that changed dvc.lock, of which the oldest that holds it counts, and
 * where there is none in the workspace's own.
 */
export async function findRecorded(root: string, md5: string): Promise<Recorded | undefined> {
  const commits = (await git(root, "log", "--format=%H", "--reverse", "--all", "--", "dvc.lock"))?.split("\n").filter(Boolean) ?? [];
  for (const commit of commits) {
    const found = lookIn(await readAtCommit(root, commit, "dvc.lock"), md5, commit);
    if (found) return found;
  }
  return lookIn(workspaceReader(root)("dvc.lock"), md5, null);
}

function lookIn(text: string | undefined, md5: string, commit: string | null): Recorded | undefined {
  // The file contains the hash literally, so most versions need no parsing.
  if (text === undefined || !text.includes(md5)) return undefined;
  const lock = parseLock(text, commit === null ? "dvc.lock" : `${commit.slice(0, 12)}:dvc.lock`);
  for (const [stage, entry] of lock) {
    const out = entry.outs.find((item) => item.md5 === md5);
    if (out) return { commit, stage, out: out.path, entry, lock };
  }
  return undefined;
}

export interface UpstreamLink {
  readonly stage: string;
  readonly dep: string;
  readonly md5: string;
  /** The stage of the same dvc.lock that wrote it; undefined where none did. */
  readonly writer: string | undefined;
  /** What the lock says that the writer wrote there. */
  readonly written: string | undefined;
}

/** Everything that a stage read, and what the stages read that wrote it, and so on. */
export function followUpstream({ lock, stage }: Pick<Recorded, "lock" | "stage">): UpstreamLink[] {
  const links: UpstreamLink[] = [];
  const seen = new Set<string>();
  const visit = (name: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    for (const dep of lock.get(name)?.deps ?? []) {
      const writer = [...lock].find(([, { outs }]) => outs.some(({ path }) => path === dep.path));
      const written = writer?.[1].outs.find(({ path }) => path === dep.path)?.md5;
      links.push({ stage: name, dep: dep.path, md5: dep.md5, writer: writer?.[0], written });
      if (writer) visit(writer[0]);
    }
  };
  visit(stage);
  return links;
}

/** The hash of one file inside a folder that the cache has; undefined where it does not. */
export function hashInside(cache: OutputCache, md5: string, path: string): string | undefined {
  return cache.entries(md5)?.find(({ relpath }) => relpath === path)?.md5;
}
