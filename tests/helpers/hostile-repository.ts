import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { runCli } from "../../src/cli/main.ts";
import { renderManifest } from "../../src/pipeline/cache/manifest.ts";
import { recordedContext } from "./recorded-output.ts";

/** What a stranger commits: files by path, links by path, and the objects that the repository's own remote serves. */
export interface HostileContent {
  readonly files?: Readonly<Record<string, string>>;
  readonly links?: Readonly<Record<string, string>>;
  /** Texts of objects, by the MD5 that the files name; `.dir` for lists of files. */
  readonly objects?: Readonly<Record<string, string>>;
}

/** A clone of a stranger's repository, in a folder with nothing else in it. */
export interface HostileClone {
  /** Holds the clone, and whatever an attack writes beside it. */
  readonly around: string;
  readonly root: string;
  run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  remove(): Promise<void>;
}

export const md5Of = (text: string): string => createHash("md5").update(text).digest("hex");

/** The MD5 of a folder's list of files, and its text. */
export function folderObject(files: Readonly<Record<string, string>>): { md5: string; objects: Record<string, string> } {
  const entries = Object.entries(files).map(([relpath, text]) => ({ md5: md5Of(text), relpath }));
  const list = renderManifest(entries);
  const md5 = `${md5Of(list)}.dir`;
  return { md5, objects: { [md5]: list, ...Object.fromEntries(Object.values(files).map((text) => [md5Of(text), text])) } };
}

/** The text of a .dvc file with one out. */
export function dataFile(path: string, md5: string, wdir?: string): string {
  const where = wdir === undefined ? "" : `wdir: ${JSON.stringify(wdir)}\n`;
  return `${where}outs:\n- md5: ${md5}\n  hash: md5\n  path: ${JSON.stringify(path)}\n`;
}

/** The victim's clone: a working tree, and an index that says that Git brought all of it. */
export async function cloneHostile(content: HostileContent): Promise<HostileClone> {
  const around = await mkdtemp(join(tmpdir(), "serval-hostile-"));
  const root = join(around, "clone");
  const folder = async (path: string): Promise<void> => void (await mkdir(dirname(join(root, path)), { recursive: true }));
  const put = async (path: string, text: string): Promise<void> => {
    await folder(path);
    await writeFile(join(root, path), text);
  };
  await put(".dvc/config", `[core]\n    remote = own\n['remote "own"']\n    url = ../objects\n`);
  for (const [path, text] of Object.entries(content.files ?? {})) await put(path, text);
  for (const [md5, text] of Object.entries(content.objects ?? {})) await put(`objects/files/md5/${md5.slice(0, 2)}/${md5.slice(2)}`, text);
  for (const [path, target] of Object.entries(content.links ?? {})) {
    await folder(path);
    await symlink(target, join(root, path));
  }
  execFileSync("git", ["init", "--quiet"], { cwd: root });
  execFileSync("git", ["add", "--all", "--force"], { cwd: root, stdio: "ignore" });
  return {
    around,
    root,
    async run(...args) {
      const context = recordedContext(root);
      const code = await runCli(args, context);
      return { code, stdout: context.stdout.text, stderr: context.stderr.text };
    },
    remove: () => rm(around, { recursive: true, force: true }),
  };
}
