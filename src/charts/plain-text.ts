/** Zero pixels wide, and not to be seen. */
const wordJoiner = "\u2060";
const inheritedName = new RegExp(
  Object.getOwnPropertyNames(Object.prototype)
    .sort((a, b) => b.length - a.length)
    .join("|"),
  "g",
);

/**
 * A copy of a chart's option in which no text holds the name of a property that every object inherits, such as `constructor`: an unseen
 * character parts it. zrender keeps the widths of texts in a plain object and writes into whatever it finds there under a text's name; for
 * `__proto__` that is the prototype of all objects of the process (zrender's lib/core/LRU.js).
 */
export function withPlainTexts<T>(value: T): T {
  if (typeof value === "string") return value.replace(inheritedName, (name) => `${name[0]}${wordJoiner}${name.slice(1)}`) as T;
  if (Array.isArray(value)) return value.map((item: unknown) => withPlainTexts(item)) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withPlainTexts(item)])) as T;
}
