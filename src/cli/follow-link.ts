import { relative, resolve, sep } from "node:path";
import type { Command } from "commander";
import { LinkGuard } from "../safe-path.ts";

/** What the verbs that write to the working folder share. */
export interface FollowLinkFlag {
  readonly followLink: readonly string[];
}

export function addFollowLinkFlag(command: Command): Command {
  return command.option(
    "--follow-link <LINK>",
    "write through this link to a folder, now and later (.dvc/config.local remembers it); may be repeated",
    (link: string, before: readonly string[]) => [...before, link],
    [],
  );
}

/** Records the links that the command line allows. Throws E_PATH_LINK for what is not a link to a folder. */
export async function allowLinks(cwd: string, { followLink }: FollowLinkFlag): Promise<void> {
  if (followLink.length === 0) return;
  const { ensureDvcFolder } = await import("../pipeline/run/add-data.ts");
  const { followLinks } = await import("../pipeline/dvc-files/follow-links.ts");
  await ensureDvcFolder(cwd);
  await followLinks(cwd, followLink);
}

/**
 * Records the links that the command line allows, and checks the folders that a command writes: E_PATH_LINK where one is a link that
 * the user did not allow. Folders outside of `cwd` are the user's own choice.
 */
export async function guardFolders(cwd: string, flag: FollowLinkFlag, folders: readonly string[]): Promise<LinkGuard> {
  await allowLinks(cwd, flag);
  const { isWithin, loadDvcConfig } = await import("../pipeline/dvc-files/dvc-config.ts");
  const guard = new LinkGuard(cwd, (await loadDvcConfig(cwd)).followedLinks);
  for (const folder of folders) {
    const full = resolve(cwd, folder);
    if (isWithin(full, cwd)) await guard.check(relative(cwd, full).split(sep).join("/"), true);
  }
  return guard;
}
