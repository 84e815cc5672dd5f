import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { loadDvcConfig } from "./dvc-config.ts";

/**
 * The caches of the working repository and of the one that a source lies in: with `cache.type = symlink` the files of a data folder are
 * links into them. A cache outside its repository counts where the user configured it, and not where the repository brought it.
 */
export async function cacheFolders(cwd: string, source: string): Promise<string[]> {
  const roots = new Set([cwd]);
  for (let at = resolve(cwd, source); at !== dirname(at); at = dirname(at)) if (existsSync(join(at, ".dvc"))) roots.add(at);
  const folders = await Promise.all(
    [...roots].map(async (root) => {
      // A repository that cannot be read, or is not to be trusted, has no say in what is followed.
      const config = await loadDvcConfig(root).catch(() => undefined);
      return config?.cacheIsOwn === true ? [config.cacheDir] : [];
    }),
  );
  return folders.flat();
}
