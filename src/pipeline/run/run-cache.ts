import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { maxYamlBytes } from "../../config/yaml.ts";
import { listIfThere, readTextFile, writeFileAtomic } from "../../files.ts";
import { isCallback } from "./changes.ts";
import { lockedStageToYaml, parseLockedStage, type LockedStage } from "../dvc-files/lock-file.ts";
import { readsTheSame, runCacheNames } from "./run-cache-names.ts";
import type { Stage } from "../dvc-files/stage.ts";
import { parseYaml } from "../dvc-files/yaml-values.ts";
import { renderYaml } from "../dvc-files/yaml-writer.ts";

/**
 * What stages wrote, by what they read: `runs/ab/KEY/VALUE` beside the objects of the cache, as DVC keeps it. A stage that meets
 * the same command, deps and parameters again takes its outs from the cache instead of running.
 */
export interface RunCache {
  /** The entry of the newest run that read the same; undefined where there is none that can be read. */
  find(entry: LockedStage): Promise<LockedStage | undefined>;
  save(entry: LockedStage): Promise<void>;
}

/** Whether the outs of a stage follow from what it reads, so that a recorded run can replace a new one (`_can_hash` of DVC). */
export function isRepeatable(stage: Stage): boolean {
  const { deps, params, outs } = stage;
  const writesInside = outs.length > 0 && outs.every(({ persist }) => !persist);
  return !isCallback(stage) && !stage.alwaysChanged && deps.length + params.length > 0 && writesInside;
}

export function openRunCache(cacheDir: string): RunCache {
  const folderOf = (key: string): string => join(cacheDir, "runs", key.slice(0, 2), key);
  return {
    async find(entry) {
      const folder = folderOf(runCacheNames(entry).key);
      const names = (await listIfThere(folder)).filter((name) => /^[0-9a-f]{64}$/.test(name));
      const aged = await Promise.all(names.map(async (name) => ({ name, mtimeMs: (await stat(join(folder, name))).mtimeMs })));
      for (const { name } of aged.sort((a, b) => b.mtimeMs - a.mtimeMs)) {
        const file = join(folder, name);
        try {
          const found = parseLockedStage(parseYaml(readTextFile(file, maxYamlBytes), file, "E_DVC_FILE").value, file);
          if (readsTheSame(found, entry)) return found;
        } catch {
          // Running the stage makes it again; left there, it would always be in the way.
          await rm(file, { force: true });
        }
      }
      return undefined;
    },
    async save(entry) {
      const { key, value } = runCacheNames(entry);
      await writeFileAtomic(join(folderOf(key), value), renderYaml(lockedStageToYaml(entry)));
    },
  };
}
