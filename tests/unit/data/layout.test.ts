import { describe, expect, test } from "vitest";
import { isHidden, labelOf, safeName } from "../../../src/data/layout/entry-names.ts";
import { readLayout } from "../../../src/data/layout/layout.ts";

function place(names: readonly string[]): Record<string, string | undefined> {
  const layout = readLayout({ names });
  return Object.fromEntries(
    names.map((name) => {
      const placement = layout.place(name);
      return [name, placement && `${placement.label} | ${placement.rest}`];
    }),
  );
}

describe("readLayout", () => {
  test("takes the class from the first folder below those that all pictures share", () => {
    expect(place(["PetImages/Cat/1.jpg", "PetImages/Dog/1.jpg", "readme.txt", "PetImages/notes.txt"])).toEqual({
      "PetImages/Cat/1.jpg": "cat | 1.jpg",
      "PetImages/Dog/1.jpg": "dog | 1.jpg",
      "readme.txt": undefined,
      "PetImages/notes.txt": undefined,
    });
    expect(place(["a/1.png", "b/1.png"])).toEqual({ "a/1.png": "a | 1.png", "b/1.png": "b | 1.png" });
  });

  test("folders below the class folder belong to the name", () => {
    expect(place(["rose/2023/1.jpg", "rose/2024/1.jpg", "tulip/2.jpg"])).toEqual({
      "rose/2023/1.jpg": "rose | 2023/1.jpg",
      "rose/2024/1.jpg": "rose | 2024/1.jpg",
      "tulip/2.jpg": "tulip | 2.jpg",
    });
  });

  test("looks through a level of train and test folders, because the split is ours to make", () => {
    expect(place(["set/train/a/1.jpg", "set/Test/a/1.jpg", "set/train/b/2.jpg"])).toEqual({
      "set/train/a/1.jpg": "a | 1.jpg",
      "set/Test/a/1.jpg": "a | 1.jpg",
      "set/train/b/2.jpg": "b | 2.jpg",
    });
  });

  test("a class may be called train where it is one of the classes", () => {
    expect(place(["train/1.jpg", "bus/1.jpg"])).toEqual({ "train/1.jpg": "train | 1.jpg", "bus/1.jpg": "bus | 1.jpg" });
  });

  test("one class folder alone is still a class", () => {
    expect(place(["x/a/1.jpg", "x/a/2.jpg"])).toEqual({ "x/a/1.jpg": "a | 1.jpg", "x/a/2.jpg": "a | 2.jpg" });
  });

  test("pictures in no folder have no class", () => {
    expect(place(["1.jpg", "2.jpg"])).toEqual({ "1.jpg": undefined, "2.jpg": undefined });
  });
});

describe("names", () => {
  test("labels are NFC, trimmed and lower case, so that spellings of one class meet", () => {
    expect([labelOf("Cat"), labelOf(" cat "), labelOf("Ka\u0308fer"), labelOf("K\u00c4FER")]).toEqual([
      "cat",
      "cat",
      "k\u00e4fer",
      "k\u00e4fer",
    ]);
  });

  test("characters that some file system refuses become underscores", () => {
    expect(safeName('a:b*c?"<d>|e\u0007.jpg')).toBe("a_b_c___d__e_.jpg");
    expect(safeName("dots..")).toBe("dots__");
  });

  test("droppings of operating systems are hidden, Thumbs.db is not", () => {
    expect(["a/.DS_Store", "__MACOSX/a/1.jpg", ".git/config"].map(isHidden)).toEqual([true, true, true]);
    expect(["a/1.jpg", "a/Thumbs.db"].map(isHidden)).toEqual([false, false]);
  });
});
