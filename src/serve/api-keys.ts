import { readFile } from "node:fs/promises";
import { ServalError } from "../errors.ts";
import { sha256 } from "../files.ts";

/** Who may ask: names by the SHA-256 of their keys. The keys themselves are nowhere. */
export interface ApiKeys {
  /** Name of the key's owner; undefined for a key that is none. */
  owner(key: string): string | undefined;
}

/**
 * Reads a file of `NAME SHA256` lines; `#` starts a comment. A plain hash is enough, because keys are random and long, not
 * passwords that can be guessed, and looking one up by its hash tells nothing by the time it takes. Throws E_API_KEYS.
 */
export async function readApiKeys(path: string): Promise<ApiKeys> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw new ServalError("E_API_KEYS", `${path} cannot be read: ${(error as Error).message}.`, { cause: error });
  });
  const owners = new Map<string, string>();
  for (const [i, line] of text.split("\n").entries()) {
    const content = line.replace(/#.*/, "").trim();
    if (content === "") continue;
    const [, name, hash] = /^([\w.-]{1,64})\s+([0-9a-f]{64})$/i.exec(content) ?? [];
    if (name === undefined || hash === undefined) {
      // Not shown: somebody may have written the key itself.
      throw new ServalError("E_API_KEYS", `${path}:${i + 1}: expected a name and the SHA-256 of a key in 64 hex digits.`);
    }
    owners.set(hash.toLowerCase(), name);
  }
  if (owners.size === 0) throw new ServalError("E_API_KEYS", `${path} holds no key, so nobody could ask.`);
  return { owner: (key) => owners.get(sha256(key)) };
}
