import type { ServiceContainer } from "./compose-containers.ts";

/** What exists in the engine, and the role of each container. */
export interface Survey {
  /** The container of the version that passed last. It may be stopped, where a deploy was killed after that. */
  readonly good: ServiceContainer | null;
  /** More of the same version: somebody scaled the service. They run, or a deploy that was killed had stopped them. */
  readonly siblings: readonly ServiceContainer[];
  /** Never reached by a request: a deploy was killed before it let them in. */
  readonly unfinished: readonly ServiceContainer[];
  /** A newer version that got requests and never passed its checks. */
  readonly unproven: readonly ServiceContainer[];
  /** Should have gone when the good one passed its checks: older versions, and its own where they do not run. */
  readonly replaced: readonly ServiceContainer[];
}

/**
 * Sorts the containers of the service. `currentImage` is the image that passed last: the tag moves only when a deploy has
 * succeeded, so the container of that image is the good one, whatever else stands; of several, that of `currentModel`, the
 * model that passed with it, where that was noted. Where none is of that image, somebody started one by hand: then the
 * oldest that runs is what there is to keep. What else runs of the good one's image and model is the same version, however
 * it came there.
 */
export function surveyContainers(containers: readonly ServiceContainer[], currentImage: string | null, currentModel?: string): Survey {
  const unfinished = containers.filter(({ admitted }) => !admitted);
  const admitted = containers.filter((container) => container.admitted);
  const ofImage = admitted.filter(({ imageId }) => imageId === currentImage);
  const ofModel = ofImage.filter(({ model }) => model === currentModel);
  const passed = ofModel.length > 0 ? ofModel : ofImage;
  const good = passed.find(({ running }) => running) ?? passed[0] ?? admitted.find(({ running }) => running) ?? admitted[0] ?? null;
  const others = admitted.filter((container) => container !== good);
  const same = others.filter(({ imageId, model }) => imageId === good?.imageId && model === good.model);
  const unproven = others.filter((container) => !same.includes(container) && container.createdAt >= (good?.createdAt ?? 0));
  // The deploy that left an unproven version had stopped them for it; what had ended by itself it had removed at its beginning.
  const siblings = same.filter(({ running }) => running || unproven.length > 0);
  const replaced = others.filter((container) => !siblings.includes(container) && !unproven.includes(container));
  return { good, siblings, unfinished, unproven, replaced };
}

/** For people: what a killed deploy left; empty where there is nothing. */
export function describeRemains({ good, unfinished, unproven, replaced }: Survey): string[] {
  const lines: string[] = [];
  if (unfinished.length > 0) lines.push("A deploy was cut short before the new version got a request: the new version is removed.");
  if (unproven.length > 0)
    lines.push("A deploy was cut short before the new version passed its checks: the previous version serves again.");
  if (replaced.length > 0 && unproven.length === 0)
    lines.push("A deploy was cut short when it had succeeded: the version before it is removed.");
  if (good && !good.running && unproven.length === 0)
    lines.push(`The container of the service was not running (${good.state}): it is started.`);
  return lines;
}
