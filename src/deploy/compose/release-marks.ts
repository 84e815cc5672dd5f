/**
 * What a deploy remembers, as tags of images in the engine. A container keeps its image, and an image its tags, from every
 * `prune`; so what is noted on the image that serves is there for as long as it serves.
 *
 *     serval-deploy/PROJECT:current               the image that passed last
 *     serval-deploy/PROJECT:previous              the one that passed before, for an undo
 *     serval-deploy/PROJECT:candidate             while compose makes its container: the image that has the name of the compose file
 *     serval-deploy/PROJECT:named                 the one that had it before, and gets it back
 *     serval-deploy/PROJECT/current/NAME:TAG      on the current image: what a person called it
 *     serval-deploy/PROJECT/previous/NAME:TAG     on the current image: what a person called the previous one
 *     serval-deploy/PROJECT/origin/NAME:sha256.…  on the current image: the previous one at its registry, to pull it again
 *     serval-deploy/PROJECT/current-model:TEXT    on the current image: the model that passed with it
 *     serval-deploy/PROJECT/previous-model:TEXT   on the current image: the model that was served before
 */
export interface Marks {
  readonly current: string;
  readonly previous: string;
  readonly candidate: string;
  readonly named: string;
  /** The tag that notes a name, or a model, on the image that serves. */
  note(kind: Note, text: string): string;
  /** Reads a note back from the tags of an image; undefined where there is none. */
  read(kind: Note, tags: readonly string[]): string | undefined;
  /** The notes among the tags of an image. */
  notesIn(tags: readonly string[]): readonly string[];
}

export type Note = "current" | "previous" | "origin" | ModelNote;
type ModelNote = "current-model" | "previous-model";

function isOfModel(kind: Note): kind is ModelNote {
  return kind.endsWith("-model");
}

export function createMarks(project: string): Marks {
  const base = `serval-deploy/${project}`;
  return {
    current: `${base}:current`,
    previous: `${base}:previous`,
    candidate: `${base}:candidate`,
    named: `${base}:named`,
    note: (kind, text) => (isOfModel(kind) ? `${base}/${kind}:m${encodeText(text)}` : `${base}/${kind}/${encodeName(text)}`),
    read(kind, tags) {
      const start = isOfModel(kind) ? `${base}/${kind}:m` : `${base}/${kind}/`;
      const found = tags.find((tag) => tag.startsWith(start))?.slice(start.length);
      if (found === undefined) return undefined;
      return isOfModel(kind) ? Buffer.from(found, "base64url").toString() : decodeName(found);
    },
    notesIn: (tags) => tags.filter((tag) => tag.startsWith(`${base}/`)),
  };
}

/** The longest model address that fits into a tag. */
export const longestModel = 95;

function encodeText(text: string): string {
  return Buffer.from(text).toString("base64url");
}

/** A name's host may have a port and its end a digest: a tag of ours may contain neither. */
function encodeName(name: string): string {
  const [, path = name, digest] = /^(.+)@(sha256:[0-9a-f]+)$/.exec(name) ?? [];
  const colon = path.lastIndexOf(":");
  const tagged = colon > path.lastIndexOf("/");
  const repository = (tagged ? path.slice(0, colon) : path).replace(":", "__");
  if (digest !== undefined) return `${repository}:${digest.replace(":", ".")}`;
  return `${repository}:${tagged ? path.slice(colon + 1) : "latest"}`;
}

function decodeName(text: string): string {
  const colon = text.lastIndexOf(":");
  const [repository, tag] = [text.slice(0, colon), text.slice(colon + 1)];
  const [host = "", ...path] = repository.split("/");
  const name = [path.length > 0 ? host.replace(/__(\d+)$/, ":$1") : host, ...path].join("/");
  return /^sha256\.[0-9a-f]{64}$/.test(tag) ? `${name}@${tag.replace(".", ":")}` : `${name}:${tag}`;
}
