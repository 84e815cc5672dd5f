/** A folder of a source with the pictures in it. */
export interface Folder {
  readonly name: string;
  /** The folders from the root of the source down to this one. */
  readonly path: readonly string[];
  /** Pictures that lie in it. */
  pictures: number;
  /** Pictures in it and below. */
  total: number;
  readonly children: Map<string, Folder>;
}

/** The folders that hold pictures, in the order of their first picture. `names` are files with forward slashes. */
export function folderTree(names: readonly string[]): Folder {
  const root: Folder = newFolder("", []);
  for (const name of names) {
    let at = root;
    at.total++;
    for (const part of name.split("/").slice(0, -1)) {
      let child = at.children.get(part);
      if (child === undefined) {
        child = newFolder(part, [...at.path, part]);
        at.children.set(part, child);
      }
      child.total++;
      at = child;
    }
    at.pictures++;
  }
  return root;
}

function newFolder(name: string, path: readonly string[]): Folder {
  return { name, path, pictures: 0, total: 0, children: new Map() };
}
