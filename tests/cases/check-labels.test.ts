import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { runCli } from "../../src/cli/main.ts";
import { readManifest } from "../../src/data/manifest.ts";
import type { LabelCheck } from "../../src/workflows/data/check-labels.ts";
import type { PictureCheck } from "../../src/workflows/data/check-pictures.ts";
import { correctData } from "../../src/workflows/data/correct-data.ts";
import { makeHeadProject, type HeadProject } from "../helpers/head-project.ts";
import { recordedContext } from "../helpers/recorded-output.ts";

const side = 64;
/** Checks that are labelled rows, and a picture of rows that is labelled columns. */
const wrong = ["checks/3.jpg", "checks/7.png", "rows/4.png"];
const wrongLabel: Readonly<Record<string, string>> = { checks: "rows", rows: "columns" };

let project: HeadProject;
beforeAll(async () => {
  project = await makeHeadProject(side, ["checks", "rows", "columns"]);
  await writeFile(join(project.cwd, "params.yaml"), stringify(project.params("efficientnet-lite0")));
  for (const path of wrong) {
    await correctData({
      cwd: project.cwd,
      pictures: [path],
      verdict: { action: "relabel", label: wrongLabel[path.split("/")[0]!] },
      by: "test",
    });
  }
  await project.prepare();
});
afterAll(async () => await project.remove());

async function check(...flags: string[]): Promise<{ code: number; stderr: string; labels: LabelCheck }> {
  const context = recordedContext(project.cwd);
  const code = await runCli(["data", "check", "--labels", "--json", ...flags], context);
  return { code, stderr: context.stderr.text, labels: (JSON.parse(context.stdout.text) as { labels: LabelCheck }).labels };
}

describe("serval data check --labels", () => {
  test("names the labels that were made wrong, with the class that is likelier, and writes a page and a list", async () => {
    const { code, labels } = await check();
    expect(code).toBe(0);
    expect(labels.images).toBe(82);
    const first = labels.suspects.slice(0, wrong.length);
    expect(first.map(({ path }) => path).sort()).toEqual(wrong);
    for (const { path, label, likelier, confidence } of first) {
      expect([path, label, likelier]).toEqual([path, wrongLabel[path.split("/")[0]!], path.split("/")[0]]);
      expect(confidence).toBeLessThan(0.5);
    }
    expect(labels.suspects.length).toBeLessThan(2 * wrong.length);
    const page = await readFile(join(project.cwd, labels.page), "utf8");
    for (const path of wrong) expect(page).toContain(path);
    expect(page.match(/<img src="data:image\/jpeg;base64,/g)?.length).toBe(6 * labels.suspects.length);
    const list = (await readFile(join(project.cwd, labels.list), "utf8")).split("\n");
    expect(list[0]).toBe("path,sha256,is,confidence,action,label,why");
    expect(list.length - 2).toBe(labels.suspects.length);
  });

  test("fails where more labels are suspect than are allowed, after it has said which", async () => {
    const { code, stderr, labels } = await check("--fail-on", "1%");
    expect(code).toBe(3);
    expect(stderr).toMatch(/E_DATA_QUALITY: \d+ of 82 labels are probably wrong \(limit 1%\)/);
    expect((await check("--fail-on", String(labels.suspects.length))).code).toBe(0);
    const refused = recordedContext(project.cwd);
    expect([await runCli(["data", "check", "--labels", "--fail-on", "many"], refused), refused.stderr.text]).toEqual([
      2,
      expect.stringContaining("E_USAGE"),
    ]);
  });

  test("decisions in the list become corrections, and what is kept is no longer a suspect", async () => {
    const { labels } = await check();
    const list = join(project.cwd, labels.list);
    const [kept, ...others] = wrong;
    const decided = (await readFile(list, "utf8"))
      .split("\n")
      .map((line) =>
        line.startsWith(`${kept},`)
          ? line.replace(",,", ",keep,")
          : others.some((path) => line.startsWith(`${path},`))
            ? line.replace(",,", ",relabel,")
            : line,
      );
    await writeFile(list, decided.join("\n"));
    const context = recordedContext(project.cwd);
    expect(await runCli(["data", "correct", "--from", labels.list, "--by", "test"], context)).toBe(0);
    expect(context.stdout.text).toContain("relabel 2, keep 1");
    await project.prepare();
    // `keep` takes back what an earlier correction did to the picture.
    const { rows } = await readManifest(join(project.cwd, "data/raw"));
    expect(rows.filter(({ path, label }) => path.split("/")[0] !== label)).toEqual([]);
    const after = await check();
    expect(after.labels.suspects.map(({ path }) => path).filter((path) => wrong.includes(path))).toEqual([]);
  });

  test("--pictures lists what is hard to see anything on, and fails where that is more than is allowed", async () => {
    const { cwd } = project;
    const context = recordedContext(cwd);
    expect(await runCli(["data", "check", "--pictures", "--json", "--fail-on", "50%"], context)).toBe(0);
    const { pictures } = JSON.parse(context.stdout.text) as { pictures: PictureCheck };
    expect(pictures.images).toBe(82);
    const page = await readFile(join(cwd, pictures.page), "utf8");
    expect(page.match(/<figure>/g)?.length ?? 0).toBe(pictures.found.length);
    const list = await readFile(join(cwd, pictures.list), "utf8");
    for (const { path } of pictures.found) expect(list).toContain(`${path},`);
  });

  test("asks for prepared data of the same version", async () => {
    const { cwd } = project;
    await correctData({ cwd, pictures: ["rows/8.png"], verdict: { action: "exclude" }, by: "test" });
    const context = recordedContext(cwd);
    await runCli(["data", "import", "patterns"], context);
    expect(await runCli(["data", "check", "--labels"], context)).toBe(2);
    expect(context.stderr.text).toMatch(/E_SHARDS_MISSING: .*another version of the data/);
  });

  test("leaves out classes with too few different pictures, and names them", async () => {
    const { cwd } = project;
    const { rows } = await readManifest(join(cwd, "data/raw"));
    const most = rows.filter(({ label }) => label === "columns").slice(4);
    await correctData({ cwd, pictures: most.map(({ sha256 }) => sha256), verdict: { action: "exclude" }, by: "test" });
    await project.prepare();
    const { labels } = await check();
    expect([labels.unchecked, labels.images]).toEqual([["columns"], rows.length - most.length - 4]);
    const others = rows.filter(({ label }) => label === "checks").slice(4);
    await correctData({ cwd, pictures: others.map(({ sha256 }) => sha256), verdict: { action: "exclude" }, by: "test" });
    await project.prepare();
    const context = recordedContext(cwd);
    expect(await runCli(["data", "check", "--labels"], context)).toBe(3);
    expect(context.stderr.text).toMatch(/E_TOO_FEW_IMAGES: .*checks, columns/);
  });
});
