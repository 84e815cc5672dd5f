import { glob, realpath } from "node:fs/promises";
import { join, resolve } from "node:path";
import { isHidden, isPictureName } from "../../data/layout/entry-names.ts";
import { walkFolder } from "../../data/sources/walk-folder.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { statIfThere } from "../../files.ts";
import { readLines } from "../read-lines.ts";

/** A picture to answer for, or why a name leads to none. */
export interface FoundPicture {
  /** As a person in the working folder would write it. */
  readonly file: string;
  readonly error?: ServalError;
}

/** Standard input, in the place of a file name. */
const standardInput = "-";

/**
 * What the names lead to, in their order: a file is itself; a folder is the pictures in it and below it, by name; a pattern such as
 * `photos/*.jpg` the pictures that fit it, by name; and `-` what each line of `input` names, where zero bytes end lines as well (`find -print0`).
 */
export async function* findPictures(
  cwd: string,
  names: readonly string[],
  input: AsyncIterable<Uint8Array> | undefined,
): AsyncGenerator<FoundPicture, void, undefined> {
  for (const name of names) {
    if (name !== standardInput) yield* findNamed(cwd, name);
    else if (input !== undefined) for await (const line of readLines("Standard input", input)) yield* findPath(cwd, line);
  }
}

async function* findNamed(cwd: string, name: string): AsyncGenerator<FoundPicture, void, undefined> {
  if (!(await isPattern(cwd, name))) {
    yield* findPath(cwd, name);
    return;
  }
  const found = await matchPictures(cwd, name);
  if (found.length === 0) yield { file: name, error: new ServalError("E_FILE_NOT_FOUND", `No picture is named like ${name}.`) };
  for (const file of found) yield { file };
}

/** Whether a name is a pattern such as `photos/*.jpg`, and not that of a file. */
export async function isPattern(cwd: string, name: string): Promise<boolean> {
  return /[*?[{]/.test(name) && (await statIfThere(resolve(cwd, name))) === undefined;
}

/** The pictures that fit a pattern, by name. */
export async function matchPictures(cwd: string, pattern: string): Promise<string[]> {
  return (await Array.fromAsync(glob(pattern, { cwd }))).filter((file) => isPictureName(file)).sort();
}

async function* findPath(cwd: string, path: string): AsyncGenerator<FoundPicture, void, undefined> {
  const there = await statIfThere(resolve(cwd, path)).catch(() => undefined);
  if (!there?.isDirectory()) {
    yield { file: path };
    return;
  }
  const root = await realpath(resolve(cwd, path));
  const { files, refused } = await walkFolder(root, [root]);
  const found: FoundPicture[] = files.filter((name) => isPictureName(name) && !isHidden(name)).map((name) => ({ file: join(path, name) }));
  for (const { name, reason } of refused) {
    if (!isHidden(name)) found.push({ file: join(path, name), error: new ServalError("E_FILE_NOT_FOUND", `${name} ${reason}.`) });
  }
  if (found.length === 0) yield { file: path, error: new ServalError("E_FILE_NOT_FOUND", `${path} is a folder without a picture.`) };
  yield* found.sort((a, b) => (a.file < b.file ? -1 : 1));
}
