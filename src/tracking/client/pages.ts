import { ServalError } from "../../errors/serval-error.ts";
import type { Connection } from "./connection.ts";
import type { Fields } from "./fields.ts";

/** More than any list that a person or a training makes. */
const mostItems = 5_000_000;

/** All items of a list that a server gives in pages. Throws E_TRACKING_REFUSED for one that does not end. */
export async function readPages<Item>(
  { server, call }: Connection,
  name: string,
  content: Readonly<Record<string, string>>,
  { key, read }: { readonly key: string; readonly read: (item: Fields) => Item },
  signal?: AbortSignal,
): Promise<Item[]> {
  const items: Item[] = [];
  let token = "";
  for (;;) {
    const page = await call(
      "GET",
      name,
      { ...content, ...(token !== "" && { page_token: token }) },
      (answer) => ({ items: answer.list(key, read), next: answer.optionalText("next_page_token") ?? "" }),
      signal,
    );
    for (const item of page.items) items.push(item);
    if (page.next === "") return items;
    // A page after the first that brings nothing, or the same page without end.
    if (page.items.length === 0 || page.next === token || items.length > mostItems) {
      throw new ServalError("E_TRACKING_REFUSED", `${server} answered ${name} with pages that do not end: ${items.length} items so far.`);
    }
    token = page.next;
  }
}
