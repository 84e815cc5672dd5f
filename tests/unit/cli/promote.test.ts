import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCli } from "../../../src/cli/main.ts";
import type { PromotionReport } from "../../../src/workflows/registry/promote-model.ts";
import { shadedPicture } from "../../helpers/colour-repository.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";
import { writeTinyBundle } from "../../helpers/tiny-bundle.ts";

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "serval-promote-"));
  await writeTinyBundle(join(cwd, "first"));
  await writeTinyBundle(join(cwd, "second"), { sharpness: 3 });
  for (const colour of ["red", "blue"] as const) {
    for (const [folder, count] of [
      ["pictures", 4],
      ["many-pictures", 30],
    ] as const) {
      await mkdir(join(cwd, folder, colour), { recursive: true });
      for (let i = 0; i < count; i++) await writeFile(join(cwd, folder, colour, `${i}.jpg`), await shadedPicture(colour, i));
    }
  }
});
afterAll(async () => await rm(cwd, { recursive: true }));

async function models(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const context = recordedContext(cwd);
  const code = await runCli(["models", ...args], context);
  return { code, stdout: context.stdout.text, stderr: context.stderr.text };
}
async function promoted(...args: string[]): Promise<PromotionReport> {
  const { code, stdout, stderr } = await models("promote", "--json", ...args);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as PromotionReport;
}

test("the first version is the champion; the next is compared with it on the same images, or forced for a reason", async () => {
  expect((await models("register", "first")).code).toBe(0);
  expect(await promoted("colours")).toMatchObject({ version: "1", promoted: true, over: null, comparison: null });
  expect((await models("register", "second")).code).toBe(0);
  expect(await promoted("colours", "--data", "pictures")).toMatchObject({
    version: "2",
    promoted: true,
    over: "1",
    refusal: null,
    comparison: { images: 8, bothRight: 8, difference: 0, interval: [0, 0], mcnemarP: 1 },
    standing: { champion: "2", previous: "1" },
  });
  expect((await models("promote", "colours")).stdout).toMatch(/^Version 2 of \S+ is already the champion\.\n$/);

  // Two at once: the one that is later was compared with a champion that is not the champion any more.
  await writeTinyBundle(join(cwd, "third"), { sharpness: 2 });
  expect((await models("register", "third")).code).toBe(0);
  const both = await Promise.all([
    models("promote", "colours/1", "--data", "pictures"),
    // It takes longer, so that the two do not end within the same milliseconds.
    models("promote", "colours/3", "--data", "many-pictures"),
  ]);
  expect(
    both.map(({ code }) => code).toSorted((a, b) => a - b),
    both.map(({ stderr }) => stderr).join(""),
  ).toEqual([0, 1]);
  const [winner, loser] = both[0].code === 0 ? ["1", "3"] : ["3", "1"];
  expect(both.map(({ stderr }) => stderr).join("")).toContain(
    `E_PROMOTION_OVERTAKEN: Version ${loser} of colours was not promoted: it was to follow version 2, and by now version ${winner} is the champion.`,
  );
  expect((await promoted(`colours/${winner}`)).standing).toEqual({ champion: winner, previous: "2" });
  expect(await promoted("colours/2", "--data", "pictures")).toMatchObject({ promoted: true, over: winner });

  // Without images to compare on.
  const refused = await models("promote", "colours/1");
  expect([refused.code === 0, refused.stderr.length > 0]).toEqual([false, true]);
  const forced = await models("promote", "colours/1", "--force", "--reason", "the shop asked for it");
  expect([forced.code, forced.stderr]).toEqual([0, expect.stringContaining("Not compared: ")]);
  expect(forced.stdout).toContain("the shop asked for it");
});

test("a version that is worse than the champion is refused, and so is an alias that the registry does not have", async () => {
  await writeTinyBundle(join(cwd, "good"), { name: "shades" });
  await writeTinyBundle(join(cwd, "mistaken"), { name: "shades", sharpness: -6 });
  for (const dir of ["good", "mistaken"]) expect((await models("register", dir)).code).toBe(0);
  await promoted("shades/1");
  const refused = await models("promote", "shades/2", "--data", "pictures");
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringContaining("E_PROMOTION_REFUSED: Version 2 of shades was not promoted: "),
  ]);
  const show = await models("show", "models:/shades@nowhere");
  expect([show.code, show.stderr]).toEqual([
    2,
    expect.stringContaining('E_REGISTRY_MISSING: "shades" has no alias "nowhere"; it has champion.'),
  ]);
  expect((await promoted("shades/1")).standing).toEqual({ champion: "1", previous: null });
});
