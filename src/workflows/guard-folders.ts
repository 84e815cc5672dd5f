import { relative, resolve, sep } from "node:path";
import { LinkGuard } from "../safe-path.ts";

/** Records the links in `cwd` that the user allows. Throws E_PATH_LINK for what is not a link to a folder. */
export async function allowLinks(cwd: string, followLink: readonly string[]): Promise<void> {
  if (followLink.length === 0) return;
  const { ensureDvcFolder } = await import("../pipeline/run/add-data.ts");
  const { followLinks } = await import("../pipeline/dvc-files/follow-links.ts");
  await ensureDvcFolder(cwd);
  await followLinks(cwd, followLink);
}

/**
 * Records the links that the user allows, and checks the folders that a use case writes: E_PATH_LINK where one is a link that
 * the user did not allow. Folders outside `cwd` are the user's own choice.
 */
export async function guardFolders(cwd: string, followLink: readonly string[], folders: readonly string[]): Promise<LinkGuard> {
  await allowLinks(cwd, followLink);
  const { isWithin, loadDvcConfig } = await import("../pipeline/dvc-files/dvc-config.ts");
  const guard = new LinkGuard(cwd, (await loadDvcConfig(cwd)).followedLinks);
  for (const folder of folders) {
    const full = resolve(cwd, folder);
    if (isWithin(full, cwd)) await guard.check(relative(cwd, full).split(sep).join("/"), true);
  }
  return guard;
}
