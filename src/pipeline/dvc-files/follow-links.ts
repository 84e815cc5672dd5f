import { existsSync } from "node:fs";
import { chmod, lstat, realpath } from "node:fs/promises";
import { join, relative, resolve, sep } from "node:path";
import { ServalError } from "../../errors/serval-error.ts";
import { readIfThere, statIfThere, writeFileAtomic } from "../../files.ts";
import { defaultStateDir } from "../../paths.ts";
import { isSafePath, readLink, type FollowedLink } from "../../safe-path.ts";
import { git } from "./git.ts";

/** In the section that DVC reserves for features that it may not know: other sections of ours would be errors to it. */
export const linksSection = "feature";
export const linksKey = "follow_links";
const localConfig = ".dvc/config.local";
/** The line in the file. */
const linksLine = /^[ \t]*follow_links[ \t]*=(.*)$/m;

/** The links that `.dvc/config.local` allows: `LINK=TARGET@STAMP`, with commas between them. What is not of this form allows nothing. */
export function parseFollowedLinks(text: string | undefined): Map<string, FollowedLink> {
  const links = (text ?? "").split(",").flatMap((item): [string, FollowedLink][] => {
    const [, link, target, stamp] = /^\s*([^=@\s]+)=([^=@\s]+)@(\d+)\s*$/.exec(item) ?? [];
    if (link === undefined || target === undefined || stamp === undefined) return [];
    try {
      return [[decodeURIComponent(link), { target: decodeURIComponent(target), stamp }]];
    } catch {
      return [];
    }
  });
  return new Map(links);
}

function formatFollowedLinks(links: ReadonlyMap<string, FollowedLink>): string {
  return Array.from(links, ([link, { target, stamp }]) => `${encode(link)}=${encode(target)}@${stamp}`).join(", ");
}

/** Without what has a meaning in the file: quotes, commas, `#`, `=`, `@` and blanks. */
function encode(path: string): string {
  return encodeURIComponent(path).replaceAll("%2F", "/").replaceAll("'", "%27");
}

/**
 * Allows Serval to write through these links (paths in the repository), as they are now, and records that in .dvc/config.local.
 * Throws E_PATH_LINK for what is not a link to a folder, and for links around the repository or into the folders of the tools.
 */
export async function followLinks(root: string, links: readonly string[]): Promise<void> {
  if (links.length === 0) return;
  await refuseForeignState(root);
  const found = new Map<string, FollowedLink>();
  for (const given of links) {
    const path = relative(root, resolve(root, given)).split(sep).join("/");
    found.set(path, await checkLink(root, given, path));
  }
  const file = join(root, localConfig);
  const before = (await readIfThere(file)) ?? "";
  const known = linksLine.exec(before)?.[1];
  const line = `    ${linksKey} = ${formatFollowedLinks(new Map([...parseFollowedLinks(known), ...found]))}`;
  const mode = (await statIfThere(file))?.mode ?? 0o600;
  await writeFileAtomic(file, insertLine(before, line), mode & 0o777);
  await chmod(file, mode & 0o777);
  // Only where `dvc init` or Serval made the folder is the file ignored already.
  if (!existsSync(join(root, ".dvc/.gitignore"))) await writeFileAtomic(join(root, ".dvc/.gitignore"), "/config.local\n/tmp\n/cache\n");
}

function insertLine(text: string, line: string): string {
  if (linksLine.test(text)) return text.replace(linksLine, () => line);
  const header = new RegExp(String.raw`^\[${linksSection}\].*$`, "m");
  if (header.test(text)) return text.replace(header, (found) => `${found}\n${line}`);
  return `${text === "" || text.endsWith("\n") ? text : `${text}\n`}[${linksSection}]\n${line}\n`;
}

async function checkLink(root: string, given: string, path: string): Promise<FollowedLink> {
  const refuse = (what: string): ServalError =>
    new ServalError("E_PATH_LINK", `--follow-link ${given}: ${what}.`, { hint: "Name a link in the repository that leads to a folder." });
  if (path === "" || path === ".." || path.startsWith("../")) throw refuse("expected a link in the repository");
  if (path === ".dvc" || path === ".git") throw refuse(`${path} itself cannot be a link`);
  const link = await readLink(join(root, path));
  if (link === undefined) throw refuse((await exists(join(root, path))) ? "expected a link, got something else" : "there is no such link");
  if (!link.isFolder) throw refuse(`expected a link to a folder, got one to "${link.target}"`);
  const top = await realpath(root);
  if (top === link.target || `${top}/`.startsWith(`${link.target}${link.target === "/" ? "" : "/"}`)) {
    throw refuse(`it leads to "${link.target}", which holds the repository itself`);
  }
  const inside = relative(top, link.target).split(sep).join("/");
  if (!inside.startsWith("../") && !isSafePath(inside)) throw refuse(`it leads to "${inside}", a folder of the tools themselves`);
  return { target: link.target, stamp: link.stamp };
}

async function exists(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined;
}

/**
 * Throws E_DVC_CONFIG where .dvc/config.local or the state in .serval came with the repository: what is in them counts as the
 * user's own word, so no stranger may write it. An archive without Git cannot be told apart; see FollowedLink.stamp.
 */
export async function refuseForeignState(root: string): Promise<void> {
  if ((await lstat(join(root, ".dvc")).catch(() => undefined))?.isSymbolicLink() === true) {
    throw new ServalError("E_DVC_CONFIG", `"${join(root, ".dvc")}" is a link: expected a folder.`, {
      hint: "Remove the link. To keep the cache elsewhere, set `dir` below `[cache]` in .dvc/config.local.",
    });
  }
  if (!(await exists(join(root, localConfig))) && !(await exists(join(root, defaultStateDir)))) return;
  // macOS and Windows take .DVC for the same folder. A submodule is listed by the name of its folder.
  const listed = await git(root, "ls-files", "-z", "--", ":(icase).dvc", ":(icase).serval");
  const foreign = (listed ?? "").split("\0").find((path) => /^(\.dvc|\.dvc\/config\.local|\.serval(\/.*)?)$/i.test(path));
  if (foreign === undefined) return;
  throw new ServalError("E_DVC_CONFIG", `"${foreign}" is in Git: expected it to be of this machine alone.`, {
    hint: `If you put it there, take it out: git rm -r --cached ${foreign}. If it came with the repository, do not trust it, and remove it.`,
  });
}
