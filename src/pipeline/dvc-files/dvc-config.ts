import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import type { FollowedLink } from "../../safe-path.ts";
import { workspaceReader } from "./workspace-files.ts";
import { linksKey, linksSection, parseFollowedLinks, refuseForeignState } from "./follow-links.ts";

const linkTypes = ["reflink", "hardlink", "symlink", "copy"] as const;
export type LinkType = (typeof linkTypes)[number];

/** One `['remote "NAME"']` of the configuration. */
export interface RemoteConfig {
  readonly name: string;
  /** A folder (absolute), or `s3://bucket/prefix`. */
  readonly url: string;
  readonly settings: Readonly<Record<string, string>>;
  /** Whether .dvc/config.local names its url: then the user says that it is theirs, and not just the repository. */
  readonly isOwn: boolean;
}

export interface DvcConfig {
  /** Absolute: where `files/md5` lies. */
  readonly cacheDir: string;
  /** Whether the cache lies in the repository, or .dvc/config.local names it: not just a file that came with the repository. */
  readonly cacheIsOwn: boolean;
  /** How data gets from the cache into the workspace: the first type that works. */
  readonly linkTypes: readonly LinkType[];
  /** Files and folders of the cache may be written by the group. */
  readonly shared: boolean;
  /** Whether `add` also does `git add` for the files that it writes. */
  readonly autostage: boolean;
  readonly defaultRemote: string | undefined;
  readonly remotes: ReadonlyMap<string, RemoteConfig>;
  /** The links in the repository that the user allowed to write through; only .dvc/config.local can name them. */
  readonly followedLinks: ReadonlyMap<string, FollowedLink>;
}

type Sections = Map<string, Map<string, string>>;

/**
 * .dvc/config, with .dvc/config.local over it: https://doc.dvc.org/user-guide/project-structure/configuration. Paths in them
 * are relative to .dvc. Throws E_DVC_CONFIG, which names the file and the line.
 */
export async function loadDvcConfig(root: string): Promise<DvcConfig> {
  await refuseForeignState(root);
  const dir = join(root, ".dvc");
  const local = readSections(root, "config.local");
  const sections = readSections(root, "config");
  for (const [section, values] of local) {
    sections.set(section, new Map([...(sections.get(section) ?? []), ...values]));
  }
  const cache = sections.get("cache");
  const remotes = new Map<string, RemoteConfig>();
  for (const [section, values] of sections) {
    const name = /^remote\s*"(.*)"$/.exec(section)?.[1];
    if (name === undefined) continue;
    const url = values.get("url");
    if (url === undefined) throw new ServalError("E_DVC_CONFIG", `.dvc/config: the remote "${name}" has no url.`);
    const isOwn = local.get(section)?.has("url") === true;
    remotes.set(name, { name, url: resolveLocation(dir, url), settings: Object.fromEntries(values), isOwn });
  }
  const cacheDir = resolveLocation(dir, cache?.get("dir") ?? "cache");
  return {
    cacheDir,
    cacheIsOwn: isWithin(cacheDir, root) || local.get("cache")?.has("dir") === true,
    linkTypes: readLinkTypes(cache?.get("type")),
    shared: cache?.get("shared")?.toLowerCase() === "group",
    autostage: sections.get("core")?.get("autostage")?.toLowerCase() === "true",
    defaultRemote: sections.get("core")?.get("remote"),
    remotes,
    followedLinks: parseFollowedLinks(local.get(linksSection)?.get(linksKey)),
  };
}

function readSections(root: string, name: string): Sections {
  return parseDvcConfig(workspaceReader(root)(`.dvc/${name}`) ?? "", `.dvc/${name}`);
}

/** Whether an absolute path lies in the folder `dir`; an address such as s3:// does not. */
export function isWithin(path: string, dir: string): boolean {
  if (!isAbsolute(path)) return false;
  const inside = relative(dir, path);
  return inside !== "" && !isAbsolute(inside) && inside.split(sep)[0] !== "..";
}

/** Section -> key (lower case) -> value, from the format of ConfigObj: `[section]`, `key = value`, `#` comments, quotes. */
function parseDvcConfig(text: string, file: string): Sections {
  const sections: Sections = new Map();
  let values = new Map<string, string>();
  for (const [i, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const header = /^\[('[^']*'|"[^"]*"|[^\]]*)\]\s*(?:#.*)?$/.exec(line)?.[1];
    if (header !== undefined) {
      const section = unquote(header.trim()).trim();
      values = sections.get(section) ?? new Map<string, string>();
      sections.set(section, values);
      continue;
    }
    const at = line.indexOf("=");
    if (at < 1) {
      throw new ServalError("E_DVC_CONFIG", `${file}:${i + 1}: expected \`[section]\` or \`key = value\`, got \`${line}\`.`);
    }
    values.set(unquote(line.slice(0, at).trim()).toLowerCase(), readValue(line.slice(at + 1).trim()));
  }
  return sections;
}

function readValue(text: string): string {
  const [, double, single] = /^(?:"([^"]*)"|'([^']*)')\s*(?:#.*)?$/.exec(text) ?? [];
  return double ?? single ?? (text.split("#", 1)[0] ?? "").trimEnd();
}

function unquote(text: string): string {
  return /^(["'])(.*)\1$/.exec(text)?.[2] ?? text;
}

function readLinkTypes(text: string | undefined): LinkType[] {
  // DVC's own default: never a link that lets a careless program write into the cache.
  if (text === undefined || text === "") return ["reflink", "copy"];
  return text.split(",").map((part) => {
    const name = unquote(part.trim());
    const type = linkTypes.find((known) => known === name);
    if (type === undefined) {
      throw new ServalError("E_DVC_CONFIG", `.dvc/config: cache.type: expected some of ${linkTypes.join(", ")}, got "${name}".`);
    }
    return type;
  });
}

function resolveLocation(dir: string, location: string): string {
  if (/^\w+:\/\//.test(location) || isAbsolute(location)) return location;
  if (location === "~" || location.startsWith("~/")) return join(homedir(), location.slice(1));
  return resolve(dir, location);
}

/**
 * Throws E_DATA_PATH in a folder of somebody's repository that is none itself: there nothing is recorded, so every command
 * would find all in order. Looks up to the top of the Git repository.
 */
export function refuseSubfolder(root: string): void {
  if (existsSync(join(root, ".dvc"))) return;
  for (let dir = root; !existsSync(join(dir, ".git")) && dirname(dir) !== dir;) {
    dir = dirname(dir);
    if (!existsSync(join(dir, ".dvc/config"))) continue;
    throw new ServalError("E_DATA_PATH", `"${root}" lies in the repository "${dir}", and is none itself.`, {
      hint: `Run the command in "${dir}"; or make this folder a repository with \`serval init\`.`,
    });
  }
}
