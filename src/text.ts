/** 0.9265 -> `92.7 %`. */
export function percent(share: number, digits = 1): string {
  return `${(100 * share).toFixed(digits)} %`;
}

/** 2502 -> `2,502`. */
export function thousands(count: number): string {
  return count.toLocaleString("en-US");
}

/** The first `most` of a list, and how many more there are: `a, b and 3 more`. With another separator the rest follows it: `a\nb\nand 3 more`. */
export function firstOf(items: readonly string[], most: number, separator = ", "): string {
  const shown = items.slice(0, most).join(separator);
  return items.length > most ? `${shown}${separator === ", " ? " " : separator}and ${items.length - most} more` : shown;
}

const escapes: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** A text inside HTML, SVG or XML, between tags or in a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => escapes[character] ?? "");
}
