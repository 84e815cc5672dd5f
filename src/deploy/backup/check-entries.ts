import { posix } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { findPathFault, resolveBelow, type PathRules } from "../../safe-path.ts";
import type { ArchiveEntry, EntryKind } from "./archive-entry.ts";

/** The two parts of an archive of scripts/backup.sh: files of volumes as they lay there, and copies of databases that go over them. */
const parts: readonly string[] = ["files", "databases"];

/**
 * Looks at the entries of an archive of scripts/backup.sh, in their order, before anything is unpacked. What passes stays in its own volume, no matter
 * who unpacks it and follows its links: no path leads out of the archive or through a link, each link leads to a place in
 * its volume, and there are only files, folders and links.
 */
export class EntryCheck {
  readonly #rules: PathRules;
  /** What is at `VOLUME/PATH`, in both parts of the archive: they are unpacked into each other. */
  readonly #kinds = new Map<string, EntryKind>();
  #count = 0;

  constructor(rules: PathRules = {}) {
    this.#rules = rules;
  }

  /** Entries so far. */
  get count(): number {
    return this.#count;
  }

  /** Throws E_ARCHIVE_UNSAFE, which names the entry. */
  check(entry: ArchiveEntry): void {
    const { path, kind, runsAsOwner } = entry;
    this.#count++;
    const fault = findPathFault(path, this.#rules);
    if (fault !== undefined) throw refusal(path, `: that path ${fault}`, isOnlyName(path) ? ownName : undefined);
    const [part = "", ...names] = path.split("/");
    if (!parts.includes(part)) throw refusal(path, `: expected ${parts.map((name) => `${name}/…`).join(" or ")}`);
    if (kind === "other") throw refusal(path, ", which is neither a file, a folder nor a link");
    if (names.length <= 1 && kind !== "folder") throw refusal(path, ", which is not a folder");
    if (runsAsOwner) throw refusal(path, ", a program that would run as its owner");
    if (names.length === 0) return;
    for (let depth = 1; depth < names.length; depth++) this.#put(names.slice(0, depth), "folder", path);
    if (kind === "link") this.#checkLink(entry, names);
    if (kind === "hard link") this.#checkHardLink(entry, names[0] ?? "");
    this.#put(names, kind === "hard link" ? "file" : kind, path);
  }

  #put(names: readonly string[], kind: EntryKind, path: string): void {
    const at = names.join("/");
    const before = this.#kinds.get(at);
    if (before !== undefined && (before !== kind || kind === "link")) {
      throw refusal(path, `: ${JSON.stringify(at)} is there twice, as a ${[before, kind].sort().join(" and as a ")}`);
    }
    this.#kinds.set(at, kind);
  }

  #checkLink({ path, target }: ArchiveEntry, [, ...names]: readonly string[]): void {
    const inside = resolveBelow(posix.dirname(names.join("/")), target, this.#rules);
    const steps = target.split("/").filter((step) => step !== "" && step !== ".");
    // `..` after a name counts from where that leads, and it may be a link itself.
    const isBack = steps.some((step, i) => step === ".." && i > 0 && steps[i - 1] !== "..");
    if (inside.fault === undefined && !isBack) return;
    throw refusal(path, `, a link to ${JSON.stringify(target)}: expected one that stays in its volume`);
  }

  /** Another name of a link would count its `..` from another folder. */
  #checkHardLink({ path, target }: ArchiveEntry, volume: string): void {
    const [part = "", ...names] = target.split("/");
    if (parts.includes(part) && names[0] === volume && this.#kinds.get(names.join("/")) === "file") return;
    throw refusal(path, `, another name of ${JSON.stringify(target)}: expected a file that came before, in the same volume`);
  }
}

function isOnlyName(path: string): boolean {
  return findPathFault(path, { anyName: true }) === undefined;
}

const ownName = "If the archive is yours and the name as it should be: `scripts/restore.sh --any-name`. If not, do not trust this archive.";

function refusal(path: string, what: string, hint?: string): ServalError {
  return new ServalError("E_ARCHIVE_UNSAFE", `The archive holds ${JSON.stringify(path)}${what}.`, hint === undefined ? {} : { hint });
}
