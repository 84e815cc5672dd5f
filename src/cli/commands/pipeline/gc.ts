import { ServalError } from "../../../errors/serval-error.ts";
import type { Garbage } from "../../../pipeline/remote/collect-garbage.ts";
import { formatBytes } from "../../../workflows/format-bytes.ts";
import { removeGarbage } from "../../../workflows/pipeline/remove-garbage.ts";
import type { Configure } from "../../command.ts";
import { addRemoteFlags, type RemoteFlags } from "../../options/remote.ts";

interface GcFlags extends RemoteFlags {
  readonly workspace?: boolean;
  readonly allBranches?: boolean;
  readonly allTags?: boolean;
  readonly allCommits?: boolean;
  readonly cloud?: boolean;
  readonly dry?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}

export const configure: Configure = (command, context) => {
  addRemoteFlags(
    command
      .option("-w, --workspace", "keep what the workspace needs (the other three keep that as well)")
      .option("-a, --all-branches", "keep what the last commit of each branch needs")
      .option("-T, --all-tags", "keep what each tag needs")
      .option("-A, --all-commits", "keep what any commit needs")
      .option("-c, --cloud", "remove it from the remote as well"),
  )
    .option("--dry", "show what would be removed, without removing it")
    .option("-f, --force", "remove it: without this (or --dry) nothing happens")
    .option("--json", "print the result as JSON")
    .action(async (flags: GcFlags) => {
      checkFlags(flags);
      const output = context.output(flags);
      const { dry = false } = flags;
      const { cache, remote } = await removeGarbage({ ...flags, cwd: context.cwd, dry, reporter: output, signal: context.signal });
      const lines = [summarize("The cache", cache, !dry), ...(remote ? [summarize(`The remote ${remote.name}`, remote, !dry)] : [])];
      const ofRemote = remote && { remote: { name: remote.name, url: remote.url, ...describe(remote) } };
      output.result({ dry, cache: describe(cache), ...ofRemote }, lines.join("\n"));
    });
};

function checkFlags({ workspace, allBranches, allTags, allCommits, cloud, remote, dry, force }: GcFlags): void {
  const scopes = "--workspace, --all-branches, --all-tags or --all-commits";
  if (![workspace, allBranches, allTags, allCommits].includes(true)) {
    throw new ServalError("E_USAGE", `Missing option that says which versions of the data to keep: expected at least one of ${scopes}.`, {
      hint: "`serval gc --all-branches --all-tags --dry` shows what would go.",
    });
  }
  if (remote !== undefined && cloud !== true) throw new ServalError("E_USAGE", "--remote says where --cloud removes data: expected both.");
  if (dry !== true && force !== true) {
    throw new ServalError("E_USAGE", "Removed data cannot be restored: expected --force to confirm, or --dry to look first.", {
      hint: "Run the same command with --dry, then with --force.",
    });
  }
}

function describe({ unused, kept, bytes }: Garbage): { kept: number; bytes: number; removed: string[] } {
  return { kept, bytes, removed: unused.map(({ md5 }) => md5) };
}

function summarize(where: string, { unused, kept, bytes }: Garbage, removed: boolean): string {
  if (unused.length === 0) return `${where} has no unneeded files (${kept} files).`;
  return `${where}: ${removed ? "removed" : "would remove"} ${unused.length} files, ${formatBytes(bytes)}; ${kept} stay.`;
}
