import { describe, expect, test } from "vitest";
import type { ServiceContainer } from "../../../src/deploy/compose/compose-containers.ts";
import { describeRemains, surveyContainers } from "../../../src/deploy/compose/compose-survey.ts";

/** A container that serves; the later made, the newer. */
function container(imageId: string, createdAt: number, changes: Partial<ServiceContainer> = {}): ServiceContainer {
  return {
    id: `${imageId}-${createdAt}`,
    imageId,
    running: true,
    state: "running",
    restarts: 0,
    createdAt,
    admitted: true,
    model: "",
    networks: {},
    published: {},
    ...changes,
  };
}

describe("what a killed deploy left is read off the containers", () => {
  const old = container("old", 1);
  test.each([
    ["nothing: one serves", [old], "old", { good: old }, 0],
    ["nothing: none was ever started", [], null, { good: null }, 0],
    [
      "a container that was made and not started",
      [old, container("new", 2, { running: false, admitted: false })],
      "old",
      { good: old, unfinished: 1 },
      1,
    ],
    ["a container that was being tested", [old, container("new", 2, { admitted: false })], "old", { good: old, unfinished: 1 }, 1],
    ["both get requests", [old, container("new", 2)], "old", { good: old, unproven: 1 }, 1],
    ["the old one was stopped already", [container("old", 1, { running: false }), container("new", 2)], "old", { unproven: 1 }, 1],
    [
      "the new one passed its checks, the old one not yet removed",
      [container("old", 1, { running: false }), container("new", 2)],
      "new",
      { replaced: 1 },
      1,
    ],
    ["two of one image: the one that runs", [container("old", 1, { running: false }), container("old", 2)], "old", { replaced: 1 }, 1],
    ["one that somebody started by hand", [container("hand", 3)], "old", { good: container("hand", 3) }, 0],
  ] as const)("%s", (_name, containers, current, expected, remarks) => {
    const found = surveyContainers(containers, current);
    const {
      good,
      unfinished = 0,
      unproven = 0,
      replaced = 0,
    } = expected as Partial<Record<"unfinished" | "unproven" | "replaced", number>> & {
      good?: ServiceContainer | null;
    };
    expect(found.good).toEqual(good === undefined ? found.good : good);
    expect([found.unfinished.length, found.unproven.length, found.replaced.length]).toEqual([unfinished, unproven, replaced]);
    expect(describeRemains(found)).toHaveLength(remarks);
  });

  test.each([
    ["as many as compose was told to run", "image"],
    ["of an image that somebody started by hand", "other"],
  ])("more that run of one image and model are one version: %s", (_name, current) => {
    const [good, second, third] = [1, 2, 3].map((createdAt) => container("image", createdAt));
    const found = surveyContainers([good!, second!, third!, container("new", 4)], current, "");
    expect(found).toMatchObject({ good, siblings: [second, third], unproven: [{ imageId: "new" }], replaced: [] });
    expect(describeRemains(surveyContainers([good!, second!], current, ""))).toEqual([]);
    // A deploy that was stopped when only its own version ran had stopped them.
    const stopped = [good!, second!].map((one) => ({ ...one, running: false }));
    expect(surveyContainers([...stopped, container("new", 4)], "image", "")).toMatchObject({
      good: stopped[0],
      siblings: [stopped[1]],
      unproven: [{ imageId: "new" }],
      replaced: [],
    });
    // A stopped one serves no clients.
    const ended = container("image", 2, { running: false });
    expect(surveyContainers([good!, ended], current, "")).toMatchObject({ good, siblings: [], unproven: [], replaced: [ended] });
  });

  test("of two of one image that one is kept whose model passed, whichever runs", () => {
    const before = container("image", 1, { running: false, model: "models:/x/1" });
    const unproven = container("image", 2, { model: "models:/x/2" });
    expect(surveyContainers([before, unproven], "image", "models:/x/1")).toMatchObject({
      good: before,
      unproven: [unproven],
      replaced: [],
    });
    // Killed after it passed its checks.
    expect(surveyContainers([before, unproven], "image", "models:/x/2")).toMatchObject({
      good: unproven,
      unproven: [],
      replaced: [before],
    });
    // Never noted, or neither of them is of that model: the one that runs.
    for (const noted of [undefined, "other"]) expect(surveyContainers([before, unproven], "image", noted).good).toBe(unproven);
  });

  test("a version that passed is kept, whichever is newer and whichever runs", () => {
    const [stopped, unproven] = [container("old", 1, { running: false }), container("new", 2)];
    expect(surveyContainers([stopped, unproven], "old").good).toBe(stopped);
    expect(surveyContainers([stopped, unproven], "new").good).toBe(unproven);
  });
});
