import { posix } from "node:path";
import { findCycles } from "./rules.ts";
import { readFacts, type SourceFacts } from "./source-facts.ts";

/** What may break a rule, each with its reason. An entry that nothing needs any more is a breach as well: the lists only shrink. */
export interface Exceptions {
  /** Folder whose parts import each other -> reason. */
  readonly folderCycles: Readonly<Record<string, string>>;
  /** Folder with more files than `mostFiles` -> reason. */
  readonly crowdedFolders: Readonly<Record<string, string>>;
  /** `path function` of a function over `mostLines` -> reason. */
  readonly longFunctions: Readonly<Record<string, string>>;
  /** File -> how many of its reads take every failure for an absent file. */
  readonly blindReads: Readonly<Record<string, number>>;
}

export const noExceptions: Exceptions = { folderCycles: {}, crowdedFolders: {}, longFunctions: {}, blindReads: {} };

const mostFiles = 22;
const mostLines = 80;

/** Every breach of the rules about rooms and what is in them, in `files` (path below the repository -> text). */
export function findRoomBreaches(files: ReadonlyMap<string, string>, exceptions: Exceptions = noExceptions): string[] {
  const facts = new Map([...files].map(([path, text]) => [path, readFacts(path, text)]));
  const sources = new Map([...facts].filter(([path]) => path.startsWith("src/")));
  return [
    ...weigh(findFolderCycles(sources), exceptions.folderCycles, "the list of folder cycles"),
    ...weigh(findCrowdedFolders([...sources.keys()]), exceptions.crowdedFolders, "the list of crowded folders"),
    ...weigh(findLongFunctions(sources), exceptions.longFunctions, "the list of long functions"),
    ...findBlindReads(facts, exceptions.blindReads),
  ];
}

/** Breaches by what the exceptions call them, without those that are allowed, and with the exceptions that nothing needs. */
function weigh(found: ReadonlyMap<string, string>, allowed: Readonly<Record<string, string>>, list: string): string[] {
  return [
    ...[...found].filter(([key]) => !(key in allowed)).map(([, breach]) => breach),
    ...Object.keys(allowed)
      .filter((key) => !found.has(key))
      .map((key) => `${list} names ${key}, which does not need it any more`),
  ];
}

/** Folder -> the first cycle between what lies directly in it: its files, and its folders with all that is below them. */
function findFolderCycles(facts: ReadonlyMap<string, SourceFacts>): Map<string, string> {
  const imports = [...facts].flatMap(([from, { imports: sightings, workers }]) =>
    // A worker is a separate program, which no import reaches.
    sightings
      .filter(({ text }) => text.startsWith(".") && !workers.includes(text))
      .map(({ text }) => ({ from, to: posix.join(posix.dirname(from), text) })),
  );
  const found = new Map<string, string>();
  for (const folder of foldersOf(facts.keys())) {
    const reasons = new Map<string, string>();
    const graph = new Map<string, string[]>();
    for (const { from, to } of imports) {
      const [a, b] = [partOf(folder, from), partOf(folder, to)];
      if (a === undefined || b === undefined || a === b || reasons.has(`${a} ${b}`)) continue;
      reasons.set(`${a} ${b}`, `${from} imports ${to}`);
      graph.set(a, [...(graph.get(a) ?? []), b]);
    }
    const [knot] = findCycles(graph);
    if (knot === undefined) continue;
    const why = [...reasons].filter(([key]) => key.split(" ").every((part) => knot.includes(part))).map(([, reason]) => reason);
    found.set(folder, `${folder}: ${[...new Set(knot)].join(" and ")} import each other (${why.join("; ")})`);
  }
  return found;
}

/** Every folder above the files, from `src` down. */
function foldersOf(paths: Iterable<string>): Set<string> {
  const folders = new Set<string>();
  for (const path of paths) for (let dir = posix.dirname(path); dir !== "."; dir = posix.dirname(dir)) folders.add(dir);
  return folders;
}

/** What in `folder` holds the file: itself, or a folder with a slash at its end; undefined for a file elsewhere. */
function partOf(folder: string, path: string): string | undefined {
  if (!path.startsWith(`${folder}/`)) return undefined;
  const [first = "", ...rest] = path.slice(folder.length + 1).split("/");
  return rest.length > 0 ? `${first}/` : first;
}

function findCrowdedFolders(paths: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const folder of foldersOf(paths)) {
    const count = paths.filter((path) => posix.dirname(path) === folder).length;
    if (count > mostFiles) found.set(folder, `${folder}: ${count} files: group them, at most ${mostFiles} lie in one folder`);
  }
  return found;
}

function findLongFunctions(facts: ReadonlyMap<string, SourceFacts>): Map<string, string> {
  const found = new Map<string, string>();
  for (const [path, { functions }] of facts) {
    for (const { text, line, lines } of functions) {
      if (lines > mostLines) found.set(`${path} ${text}`, `${path}:${line}: ${text} has ${lines} lines: split it, at most ${mostLines}`);
    }
  }
  return found;
}

function findBlindReads(facts: ReadonlyMap<string, SourceFacts>, allowed: Readonly<Record<string, number>>): string[] {
  const breaches = [...facts].flatMap(([path, { blindReads }]) => {
    if (blindReads.length === allowed[path]) return [];
    return blindReads.map(({ line }) => `${path}:${line}: takes every failure to read for an absent file: use readIfThere`);
  });
  const done = Object.keys(allowed).filter((path) => (facts.get(path)?.blindReads.length ?? 0) < (allowed[path] ?? 0));
  return [...breaches, ...done.map((path) => `the list of blind reads names more of them in ${path} than there are`)];
}

/** What a folder may import by the layer table and does not, as `folder -> permission`. */
export function findUnusedPermissions(files: ReadonlyMap<string, string>, table: Readonly<Record<string, readonly string[]>>): string[] {
  const used = new Map<string, string[]>();
  for (const [path, text] of files) {
    const [room = ""] = path.split("/");
    const targets = readFacts(path, text).imports.map((sighting) => posix.join(posix.dirname(path), sighting.text));
    used.set(room, [...(used.get(room) ?? []), ...targets]);
  }
  return Object.entries(table).flatMap(([room, permissions]) =>
    permissions
      .filter((name) => name !== "*")
      .filter((name) => !used.get(room)?.some((target) => target === `${name}.ts` || target.startsWith(`${name}/`)))
      .map((name) => `${room} -> ${name}`),
  );
}
