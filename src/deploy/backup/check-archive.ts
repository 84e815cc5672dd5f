import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { ServalError } from "../../errors/serval-error.ts";
import { statIfThere } from "../../files.ts";
import { excerpt } from "../../http/printable.ts";
import type { PathRules } from "../../safe-path.ts";
import { listingFlags, listingLocale, parseEntry } from "./archive-entry.ts";
import { EntryCheck } from "./check-entries.ts";

export interface CheckArchiveOptions {
  readonly rules?: PathRules;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * How many entries an archive of scripts/backup.sh has, all of which may be unpacked. GNU tar reads it, because GNU tar will unpack it: two
 * programs could understand the same archive in two ways. Throws E_ARCHIVE_UNSAFE, which names the first entry that is refused,
 * E_ARCHIVE_CORRUPT, and E_FILE_NOT_FOUND.
 */
export async function checkArchive(path: string, { rules, env }: CheckArchiveOptions): Promise<number> {
  const found = await statIfThere(path);
  if (found === undefined) throw new ServalError("E_FILE_NOT_FOUND", `${path} does not exist.`);
  if (!found.isFile()) throw new ServalError("E_FILE_NOT_FOUND", `${path} is not a file: expected an archive of scripts/backup.sh.`);
  const check = new EntryCheck(rules);
  const child = spawn("tar", [...listingFlags, "--gzip", "--file", path], {
    env: { ...env, ...listingLocale },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said = `${said}${text}`.slice(-2_000)));
  const ended = once(child, "close") as Promise<[code: number | null]>;
  try {
    await Promise.race([once(child, "spawn"), ended]);
    for await (const line of createInterface({ input: child.stdout, crlfDelay: Number.POSITIVE_INFINITY })) check.check(parseEntry(line));
  } catch (error) {
    child.kill("SIGKILL");
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new ServalError("E_FILE_NOT_FOUND", "There is no tar on this machine.", {
      cause: error,
      hint: "The image of the service has one.",
    });
  }
  const [code] = await ended;
  if (code !== 0) throw new ServalError("E_ARCHIVE_CORRUPT", `${path} cannot be read: ${excerpt(said, 300)}`);
  return check.count;
}
