import { escapeHtml } from "../../../text.ts";

/** Markup that is safe to put into a page as it is. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Part = Html | string | number | undefined | false | readonly Part[];

/** A template in which every value is escaped that is not markup already: names and texts come from those who logged them. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(strings.map((text, i) => text + render(parts[i])).join(""));
}

function render(part: Part): string {
  if (part === undefined || part === false) return "";
  if (part instanceof Html) return part.text;
  if (typeof part === "object") return part.map(render).join("");
  return escapeHtml(String(part));
}

/** `/runs?x=1`, with the values encoded; those that are empty are left out, lists become several. */
export function link(path: string, query: Readonly<Record<string, string | number | readonly string[] | undefined>> = {}): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    for (const each of [value].flat()) if (each !== undefined && each !== "") search.append(key, String(each));
  }
  const text = search.toString();
  return text === "" ? path : `${path}?${text}`;
}
