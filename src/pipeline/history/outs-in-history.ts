import { posix } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { git, readCommit, readObject } from "../dvc-files/git.ts";
import { readTrackedOuts, type TrackedOut } from "../dvc-files/tracked-outs.ts";

export interface HistoryScope {
  readonly allBranches?: boolean | undefined;
  readonly allTags?: boolean | undefined;
  readonly allCommits?: boolean | undefined;
}

export interface OutInHistory extends TrackedOut {
  /** A commit that records it. */
  readonly commit: string;
}

/**
 * What the chosen commits of Git version as data. An out of DVC 2 is left out: its objects lie elsewhere in a cache. Throws
 * E_DVC_FILE, which names the commit, and E_GC_UNSURE where Git does not answer: nothing may seem unused because it was not read.
 */
export async function findOutsInHistory(root: string, scope: HistoryScope): Promise<OutInHistory[]> {
  const texts = new Map<string, string>();
  const seen = new Set<string>();
  const outs: OutInHistory[] = [];
  for (const commit of await listCommits(root, scope)) {
    const blobs = await listFiles(root, commit);
    for (const [file, blob] of blobs) {
      const pipeline = posix.join(posix.dirname(file), "dvc.yaml");
      const isLock = posix.basename(file) === "dvc.lock";
      if (!isLock && !file.endsWith(".dvc")) continue;
      // Without its dvc.yaml a lock says nothing, to DVC either.
      if (isLock && !blobs.has(pipeline)) continue;
      const version = `${file}\0${blob}\0${isLock ? blobs.get(pipeline) : ""}`;
      if (seen.has(version)) continue;
      seen.add(version);
      const read = (path: string): string | undefined => {
        const id = blobs.get(path);
        if (id === undefined) return undefined;
        const text = texts.get(id) ?? readBlob(root, id);
        texts.set(id, text);
        return text;
      };
      try {
        outs.push(...readTrackedOuts(file, read, { skipLegacy: true }).map((out) => ({ ...out, commit })));
      } catch (error) {
        if (!(error instanceof ServalError)) throw error;
        throw new ServalError(error.code, `Commit ${commit.slice(0, 12)}: ${error.message}`, {
          hint: "Select versions without this commit, or use `dvc gc`.",
          cause: error,
        });
      }
    }
  }
  return outs;
}

async function listCommits(root: string, { allBranches, allTags, allCommits }: HistoryScope): Promise<string[]> {
  const lines = (text: string): string[] => text.split("\n").filter(Boolean);
  const commits: string[] = [];
  if (allCommits === true) {
    if ((await mustGit(root, "rev-parse", "--is-shallow-repository")).trim() === "true") {
      throw new ServalError("E_GC_UNSURE", `"${root}" is a shallow clone: it lacks the older commits of --all-commits.`, {
        hint: "Bring them with `git fetch --unshallow`.",
      });
    }
    commits.push(...lines(await mustGit(root, "rev-list", "--all")));
  }
  for (const place of [...(allBranches === true ? ["refs/heads"] : []), ...(allTags === true ? ["refs/tags"] : [])]) {
    const format = "%(objecttype) %(objectname) %(*objecttype) %(*objectname)";
    for (const line of lines(await mustGit(root, "for-each-ref", `--format=${format}`, place))) {
      const [type, id = "", peeledType, peeled = ""] = line.split(" ");
      // Of an annotated tag, what it points to; a tag may also name something that is not a commit.
      if (type === "commit") commits.push(id);
      else if (peeledType === "commit") commits.push(peeled);
      else if (peeledType === "tag") commits.push((await mustGit(root, "rev-parse", `${id}^{commit}`)).trim());
    }
  }
  // A checkout of no branch, and what leads to it.
  const head = allCommits === true ? await readCommit(root) : undefined;
  if (head !== undefined) commits.push(...lines(await mustGit(root, "rev-list", head)));
  return [...new Set(commits)];
}

/** The files of a commit, below `root`: path -> blob. */
async function listFiles(root: string, commit: string): Promise<Map<string, string>> {
  const text = await mustGit(root, "ls-tree", "-r", "-z", commit);
  return new Map(
    text.split("\0").flatMap((line): [string, string][] => {
      const [, id, path] = /^\d+ blob ([0-9a-f]+)\t(.*)$/s.exec(line) ?? [];
      return id === undefined || path === undefined ? [] : [[path, id]];
    }),
  );
}

async function mustGit(root: string, ...args: readonly string[]): Promise<string> {
  const text = await git(root, ...args);
  if (text === undefined) throw unsure(root, args);
  return text;
}

function readBlob(root: string, id: string): string {
  try {
    return readObject(root, id).toString("utf8");
  } catch (error) {
    throw unsure(root, ["show", id], error);
  }
}

function unsure(root: string, args: readonly string[], cause?: unknown): ServalError {
  return new ServalError("E_GC_UNSURE", `"git ${args.join(" ")}" failed in "${root}".`, {
    hint: "--all-branches, --all-tags and --all-commits need a Git repository that is whole: try `git fsck`.",
    cause,
  });
}
