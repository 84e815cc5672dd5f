import { createReadStream } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { isHidden } from "../layout/entry-names.ts";
import { compareBytes, isImportedFolder } from "../manifest.ts";
import { mapOrdered } from "../map-ordered.ts";
import { layoutOf, placed, type LabelOptions, type Source, type SourceEntry } from "./source.ts";
import { walkFolder } from "./walk-folder.ts";

export interface FolderOptions extends LabelOptions {
  /** Folders outside the source that its links may lead to, such as a cache whose files are in the source as links. */
  readonly linkRoots?: readonly string[] | undefined;
  /** Of files and folders in it, links followed. Default: 2,000,000. */
  readonly mostFiles?: number;
}

/** A folder with one subfolder per class (the ImageFolder layout), however deep it begins. Links in it are followed as far as they stay in it. */
export async function openFolder(path: string, options: FolderOptions = {}): Promise<Source> {
  const root = await realpath(path);
  const roots = await Promise.all((options.linkRoots ?? []).map((folder) => realpath(folder).catch(() => undefined)));
  const { files, folders, refused } = await walkFolder(root, [root, ...roots.filter((folder) => folder !== undefined)], options.mostFiles);
  const hidden = files.filter(isHidden);
  const names = files.filter((name) => !isHidden(name)).sort(compareBytes);
  const faults = refused.filter(({ name }) => !isHidden(name));
  const title = basename(root);
  const normal = (list: readonly string[]): string[] => list.map((name) => name.normalize("NFC"));
  const layout = layoutOf(title, {
    names: normal(names),
    folders: normal(folders),
    hidden: normal(hidden),
    labelsFrom: options.labelsFrom,
    imported: await isImportedFolder(root),
  });
  return {
    id: `folder:${root}`,
    title,
    count: names.length + faults.length,
    tree: layout.tree,
    remarks: layout.remarks,
    ...(layout.hint !== undefined && { hint: layout.hint }),
    folder: root,
    async *entries(): AsyncGenerator<SourceEntry> {
      for (const { name, reason } of faults) yield refusedLink(name.normalize("NFC"), reason);
      const sized = mapOrdered(names, 16, async (name) => ({ name, stat: await stat(join(root, name)) }));
      for await (const { name: diskName, stat } of sized) {
        const name = diskName.normalize("NFC");
        yield {
          name,
          ...placed(name, layout),
          version: `${stat.size}-${Math.round(stat.mtimeMs)}`,
          sizeBytes: stat.size,
          open: async () => createReadStream(join(root, diskName)),
        };
      }
    },
    close: async () => {},
  };
}

function refusedLink(name: string, reason: string): SourceEntry {
  const fault = { code: "E_PATH_LINK", message: `"${name}" ${reason}.` } as const;
  const open = (): Promise<never> => Promise.reject(new ServalError(fault.code, fault.message));
  return { name, label: undefined, path: undefined, fault, version: "link", sizeBytes: undefined, open };
}
