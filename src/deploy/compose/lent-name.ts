import type { Engine } from "../engine.ts";
import { imageIdOf } from "./engine-images.ts";
import type { Marks } from "./release-marks.ts";

/** Gives an image the name that the compose file has, while `work` has compose make a container of it. */
export async function lendName(engine: Engine, marks: Marks, name: string, imageId: string, work: () => Promise<void>): Promise<void> {
  const before = await imageIdOf(engine, name);
  const isLent = before !== null && before !== imageId;
  if (isLent) {
    await engine.docker(["tag", before, marks.named]);
    await engine.docker(["tag", imageId, marks.candidate]);
  }
  await engine.docker(["tag", imageId, name]);
  try {
    await work();
  } finally {
    if (isLent) await giveNameBack(engine, marks, name);
  }
}

/**
 * Ends what `lendName` began, also in a deploy that was killed: with the name at a version that was never tested, `docker compose up` by hand would
 * start that. Where the name was given to a third image meanwhile, it stays there.
 */
export async function giveNameBack(engine: Engine, marks: Marks, name: string): Promise<void> {
  const before = await imageIdOf(engine, marks.named);
  const candidate = await imageIdOf(engine, marks.candidate);
  if (before !== null && candidate === (await imageIdOf(engine, name))) await engine.docker(["tag", before, name]);
  if (candidate !== null) await engine.docker(["rmi", "--force", marks.candidate]);
  if (before !== null) await engine.docker(["rmi", "--force", marks.named]);
}
