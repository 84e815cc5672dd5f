import type { RemoteLink } from "./link.ts";
import type { RemoteObject } from "./remote.ts";

/** Below this many objects, asking for each is less work for the store than listing its folders. */
const askLimit = 256;
/** Up to about this many objects on the remote, one list of all is quicker than one for each of the 256 folders. */
const listAllLimit = 10_000;

/** Which of the objects the remote has. */
export async function findExisting(link: RemoteLink, md5s: readonly string[]): Promise<Set<string>> {
  const found = new Set<string>();
  if (md5s.length < askLimit) {
    await link.each(md5s, async (md5) => {
      if (await link.attempt("ask for", md5, (request) => link.remote.has(md5, request))) found.add(md5);
    });
    return found;
  }
  const wanted = new Set(md5s);
  const list = async (digits: string): Promise<readonly RemoteObject[]> => {
    const objects = await link.attempt("list", "", (request) => link.remote.list(digits, request));
    for (const { md5 } of objects) if (wanted.has(md5)) found.add(md5);
    return objects;
  };
  const [first = "", ...others] = new Set(md5s.map((md5) => md5.slice(0, 2)));
  // Hashes are spread evenly, so that one folder tells the size of all.
  const estimate = (await list(first)).length * 256;
  await link.each(estimate < listAllLimit ? [""] : others, async (digits) => void (await list(digits)));
  return found;
}
