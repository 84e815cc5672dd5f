import { ServalError } from "../../errors/serval-error.ts";
import { findPathFault } from "../../safe-path.ts";

/** One file of a folder: its path below the folder with forward slashes, and its hash. */
export interface ManifestEntry {
  readonly relpath: string;
  readonly md5: string;
}

/**
 * The text of a `.dir` object, byte for byte as DVC writes it: Python's `json.dumps(list, sort_keys=True)` of the entries,
 * sorted by path (by code points), everything outside ASCII escaped.
 */
export function renderManifest(entries: readonly ManifestEntry[]): string {
  const sorted = [...entries];
  // JavaScript compares UTF-16 units, Python code points: they differ where a character needs two units.
  if (sorted.some(({ relpath }) => /[\ud800-\udfff]/.test(relpath))) {
    sorted.sort((a, b) => Buffer.compare(Buffer.from(a.relpath), Buffer.from(b.relpath)));
  } else {
    sorted.sort((a, b) => (a.relpath < b.relpath ? -1 : a.relpath > b.relpath ? 1 : 0));
  }
  return `[${sorted.map(({ md5, relpath }) => `{"md5": "${md5}", "relpath": ${quote(relpath)}}`).join(", ")}]`;
}

/** The entries of a `.dir` object. Throws E_CACHE_CORRUPT where it is not a list of paths and hashes. */
export function parseManifest(text: string, name: string): ManifestEntry[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ServalError("E_CACHE_CORRUPT", `${name}: expected a list in JSON.`, { cause: error });
  }
  if (!Array.isArray(value)) throw new ServalError("E_CACHE_CORRUPT", `${name}: expected a list of files.`);
  return value.map((item: unknown, i) => {
    const { md5, relpath } = (item ?? {}) as { md5?: unknown; relpath?: unknown };
    if (typeof relpath !== "string" || typeof md5 !== "string" || !/^[0-9a-f]{32}$/.test(md5)) {
      throw new ServalError("E_CACHE_CORRUPT", `${name}: entry ${i}: expected {"md5", "relpath"}, got ${JSON.stringify(item)}.`);
    }
    // A manifest may come from a remote: nothing in it may lead out of its folder.
    const fault = findPathFault(relpath);
    if (fault !== undefined) {
      throw new ServalError("E_CACHE_CORRUPT", `${name}: entry ${i}: ${JSON.stringify(relpath)} ${fault}: expected a path in the folder.`, {
        hint: "Do not trust who made this list. If you did, rename the file and add the folder again.",
      });
    }
    return { md5, relpath };
  });
}

function quote(text: string): string {
  const json = JSON.stringify(text);
  // oxlint-disable-next-line no-control-regex -- DEL is the one ASCII character that Python escapes and JSON.stringify does not.
  return /[\x7f-\uffff]/.test(json)
    ? json.replaceAll(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    : json;
}
