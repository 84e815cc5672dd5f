import { invalid } from "../refusal.ts";

/** Where the next page begins. Clients pass it back as it is; whatever is not one of ours is refused. */
export function nextPageToken(offset: number): string {
  return Buffer.from(JSON.stringify({ offset })).toString("base64");
}

export function readPageToken(token: string | undefined): number {
  if (token === undefined || token === "") return 0;
  try {
    const { offset } = JSON.parse(Buffer.from(token, "base64").toString("utf8")) as { offset?: unknown };
    if (Number.isSafeInteger(offset) && Number(offset) > 0) return Number(offset);
  } catch {
    // Told below.
  }
  throw invalid(`page_token ${JSON.stringify(token.slice(0, 60))} is not one that this server gave.`);
}

/** `items` is a list, or makes one item after the other. */
export interface Page<Item, Items extends Iterable<Item> = readonly Item[]> {
  readonly items: Items;
  readonly token: string | undefined;
}

/** Of one item more than was asked for, which says whether there is another page. */
export function cutPage<Item>(items: readonly Item[], offset: number, maxResults: number): Page<Item> {
  const more = items.length > maxResults;
  return { items: more ? items.slice(0, maxResults) : items, token: more ? nextPageToken(offset + maxResults) : undefined };
}

export function checkMaxResults(maxResults: number, limit: number): void {
  if (!Number.isInteger(maxResults) || maxResults < 1 || maxResults > limit) {
    throw invalid(`max_results: expected a whole number from 1 to ${limit}, got ${maxResults}.`);
  }
}
