import { createReadStream } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, join, relative, sep } from "node:path";
import { compareBytes } from "../manifest.ts";
import { mapOrdered } from "../map-ordered.ts";
import { classLayout, isHidden } from "../layout.ts";
import type { Source, SourceEntry } from "./source.ts";

/** A folder with one subfolder per class (the ImageFolder layout), however deep it begins. Links are not followed. */
export async function openFolder(path: string): Promise<Source> {
  const root = await realpath(path);
  const found = await readdir(root, { recursive: true, withFileTypes: true });
  const names = found
    .filter((item) => item.isFile())
    .map((item) => relative(root, join(item.parentPath, item.name)).split(sep).join("/"))
    .filter((name) => !isHidden(name))
    .sort(compareBytes);
  const place = classLayout(names.map((name) => name.normalize("NFC")));
  return {
    id: `folder:${root}`,
    title: basename(root),
    count: names.length,
    folder: root,
    async *entries(): AsyncGenerator<SourceEntry> {
      const sized = mapOrdered(names, 16, async (name) => ({ name, stat: await stat(join(root, name)) }));
      for await (const { name: diskName, stat } of sized) {
        const name = diskName.normalize("NFC");
        const placement = place(name);
        yield {
          name,
          label: placement?.label,
          path: placement && `${placement.label}/${placement.rest}`,
          version: `${stat.size}-${Math.round(stat.mtimeMs)}`,
          sizeBytes: stat.size,
          open: async () => createReadStream(join(root, diskName)),
        };
      }
    },
    close: async () => {},
  };
}
