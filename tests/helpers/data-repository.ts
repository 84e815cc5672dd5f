import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { runCli } from "../../src/cli/main.ts";
import { addData } from "../../src/pipeline/run/add-data.ts";
import type { OutputCache } from "../../src/pipeline/cache/output-cache.ts";
import { openOutputCache } from "../../src/pipeline/cache/outputs.ts";
import { createLink, type Effort, type RemoteLink } from "../../src/pipeline/remote/link.ts";
import { findRemote, openRemote } from "../../src/pipeline/remote/open-remote.ts";
import { recordedContext } from "./recorded-output.ts";

/** A folder with versioned data, its cache, and the links to its remotes. */
export interface DataRepository {
  readonly root: string;
  cache: OutputCache;
  write(files: Readonly<Record<string, string>>): Promise<void>;
  /** Replaces .dvc/config, and opens the cache with it. */
  configure(config: string): Promise<void>;
  add(...paths: string[]): Promise<{ path: string; md5: string }[]>;
  /** Runs `serval ARGS` in this process. */
  run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  link(effort?: Partial<Effort>): Promise<RemoteLink>;
  /** Where the cache keeps an object. */
  object(md5: string): string;
  /** As in a fresh clone: neither data nor cache. */
  forget(...paths: string[]): Promise<void>;
  remove(): Promise<void>;
}

export const md5Of = (text: string): string => createHash("md5").update(text).digest("hex");

export async function makeDataRepository(): Promise<DataRepository> {
  const root = await mkdtemp(join(tmpdir(), "serval-remote-"));
  const links: RemoteLink[] = [];
  const repository: DataRepository = {
    root,
    cache: await openOutputCache(root),
    async write(files) {
      for (const [path, text] of Object.entries(files)) {
        await mkdir(dirname(join(root, path)), { recursive: true });
        await writeFile(join(root, path), text);
      }
    },
    async configure(config) {
      repository.cache.close();
      await repository.write({ ".dvc/config": config });
      repository.cache = await openOutputCache(root);
    },
    add: async (...paths) => await addData(root, repository.cache, paths),
    async run(...args) {
      const context = recordedContext(root);
      const code = await runCli(args, context);
      return { code, stdout: context.stdout.text, stderr: context.stderr.text };
    },
    async link(effort = {}) {
      const remote = await openRemote(findRemote(repository.cache.config, undefined));
      const link = createLink(remote, {
        signal: new AbortController().signal,
        jobs: 4,
        effort: { attempts: 4, delayMs: 1, maxDelayMs: 2, ...effort },
      });
      links.push(link);
      return link;
    },
    object: (md5) => join(root, ".dvc/cache/files/md5", md5.slice(0, 2), md5.slice(2)),
    async forget(...paths) {
      for (const path of [".dvc/cache", ...paths]) await rm(join(root, path), { recursive: true, force: true });
    },
    async remove() {
      for (const { remote } of links) remote.close();
      repository.cache.close();
      await rm(root, { recursive: true, force: true });
    },
  };
  return repository;
}

/** Flips one bit of an object without a trace in its times or mode. */
export async function flipBit(path: string): Promise<void> {
  const { atime, mtime, mode } = await stat(path);
  await chmod(path, 0o644);
  const bytes = await readFile(path);
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  await writeFile(path, bytes);
  await utimes(path, atime, mtime);
  await chmod(path, mode & 0o777);
}
