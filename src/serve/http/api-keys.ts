import { readFile } from "node:fs/promises";
import { ServalError } from "../../errors/serval-error.ts";
import { sha256 } from "../../files.ts";

/** Who a key belongs to. */
export interface KeyOwner {
  /** Several keys may have one owner: the old key and the new one while clients change over. */
  readonly name: string;
  /** May label the predictions of every key, not only its own. */
  readonly reviewer: boolean;
}

/** Owners by the SHA-256 of their keys. The keys themselves are stored nowhere. */
export interface ApiKeys {
  /** `key` as Node gives the value of a header, one character for each byte. Undefined for an unknown key. */
  owner(key: string): KeyOwner | undefined;
}

/**
 * Reads a file of lines `NAME SHA256` or `NAME SHA256 reviewer`; `#` starts a comment. A plain hash is enough, because keys
 * are random and long, not passwords that can be guessed. Looking a key up by its hash takes the same time whatever the key
 * has in common with a real one. Throws E_API_KEYS.
 */
export async function readApiKeys(path: string): Promise<ApiKeys> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new ServalError("E_API_KEYS", `${path} cannot be read: ${(error as Error).message}.`, { cause: error });
  });
  const owners = new Map<string, KeyOwner>();
  for (const [i, line] of text.split("\n").entries()) {
    const content = line.replace(/#.*/, "").trim();
    if (content === "") continue;
    const [, name, hash, role] = /^([\w.-]{1,64})\s+([0-9a-fA-F]{64})(?:\s+(reviewer))?$/.exec(content) ?? [];
    if (name === undefined || hash === undefined) {
      // Not shown: somebody may have written the key itself.
      throw new ServalError(
        "E_API_KEYS",
        `${path}:${i + 1}: expected a name, the SHA-256 of a key in 64 hex digits, and after them nothing or the word reviewer.`,
      );
    }
    owners.set(hash.toLowerCase(), { name, reviewer: role === "reviewer" });
  }
  if (owners.size === 0) throw new ServalError("E_API_KEYS", `${path} contains no keys, so no client could authenticate.`);
  return { owner: (key) => owners.get(sha256(Buffer.from(key, "latin1"))) };
}
