import { beforeAll, describe, expect, test } from "vitest";
import sharp from "sharp";
import { findDefects, measureLook, type Look } from "../../../src/quality/looks.ts";
import { blobs } from "../../helpers/pictures.ts";

const [width, height] = [96, 72];
const raw = { raw: { width, height, channels: 3 as const } };
const clean: Buffer[] = [];
beforeAll(async () => {
  // Blobs have soft insides and sharp edges, as photographs do.
  for (let k = 0; k < 40; k++) clean.push(await blobs(`look ${k}`, width, height).removeAlpha().raw().toBuffer());
});

const look = (pixels: Uint8Array): Look => measureLook(pixels, width, height);

describe("the defects of a picture", () => {
  test("are none for pictures as they are", () => {
    expect(findDefects(clean.map(look)).flat()).toEqual([]);
  });

  test("are found where they were made", async () => {
    const made = {
      dark: clean[0]!.map((value) => 0.15 * value),
      bright: clean[1]!.map((value) => 255 - 0.15 * (255 - value)),
      flat: clean[2]!.map((value) => 110 + 0.05 * value),
      blurred: await sharp(clean[3], raw).blur(4).raw().toBuffer(),
    };
    const found = findDefects([...clean.map(look), ...Object.values(made).map(look)]).slice(clean.length);
    expect(found.map((list) => list.length > 0)).toEqual([true, true, true, true]);
    for (const [k, defect] of Object.keys(made).entries()) expect(found[k]).toContain(defect);
  });

  test("of pictures that are alike in sharpness are not blur", () => {
    const looks = clean.map((pixels, k) => ({ ...look(pixels), sharpness: -1 + 0.001 * k }));
    expect(findDefects(looks).flat()).toEqual([]);
  });
});
