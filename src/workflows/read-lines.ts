import { ServalError } from "../errors/serval-error.ts";

/** Longer names exist on no system. */
const mostNameBytes = 65_536;

/** The lines of a list of file names that comes in pieces, each as soon as it is there. Empty ones are left out. Throws E_USAGE. */
export async function* readLines(
  title: string,
  input: AsyncIterable<Uint8Array>,
  mostLetters: number = mostNameBytes,
): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of input) {
    const lines = `${rest}${decoder.decode(piece, { stream: true })}`.split(/\r?\n|\0/);
    rest = lines.pop() ?? "";
    if (rest.length > mostLetters) {
      throw new ServalError("E_USAGE", `${title}: expected a file name on each line, got a line of more than ${mostLetters} letters.`);
    }
    yield* lines.filter((line) => line !== "");
  }
  if (rest !== "") yield rest;
}
