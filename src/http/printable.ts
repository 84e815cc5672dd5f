/**
 * Control characters that a terminal would obey, and characters that change the order of the text around them. A line end and a
 * tab are text.
 */
// oxlint-disable-next-line no-control-regex -- these are the characters that it is about
const commands = /[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Text from elsewhere, fit for a terminal: every control character is shown as `\u001b` instead of being sent. It is also valid inside JSON. */
export function printable(text: string): string {
  return text.replace(commands, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The beginning of a text from elsewhere on one line, for a message. `secrets` are what we sent and must not be shown. */
export function excerpt(text: string, length: number, secrets: readonly string[] = []): string {
  let clean = text.slice(0, 20 * length);
  for (const secret of secrets) if (secret !== "") clean = clean.replaceAll(secret, "***");
  return printable(clean.replaceAll(/\s+/g, " ").trim()).slice(0, length);
}
