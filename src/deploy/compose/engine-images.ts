import type { Engine } from "../engine.ts";

/** What a name means to the engine now: `sha256:` and 64 hex digits; null for no image. */
export async function imageIdOf(engine: Engine, name: string): Promise<string | null> {
  return await engine.ask(["image", "inspect", "--format", "{{.Id}}", name]);
}

/** Where the engine pulled an image from: NAME@sha256:…; null for one that was built here. */
export async function originOf(engine: Engine, imageId: string): Promise<string | null> {
  return (await readList(engine, imageId, "RepoDigests"))[0] ?? null;
}

export async function tagsOf(engine: Engine, imageId: string): Promise<readonly string[]> {
  return await readList(engine, imageId, "RepoTags");
}

async function readList(engine: Engine, imageId: string, field: string): Promise<readonly string[]> {
  const text = await engine.ask(["image", "inspect", "--format", `{{json .${field}}}`, imageId]);
  return text === null ? [] : ((JSON.parse(text) as readonly string[] | null) ?? []);
}
