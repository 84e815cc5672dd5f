import { appendFile, cp, mkdir, rename, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findBlock } from "./blocks.ts";
import { Reader } from "./reader.ts";
import { makeUserFolder } from "./user-folder.ts";

let folder: Awaited<ReturnType<typeof makeUserFolder>>;
let reader: Reader;
const at = (...parts: string[]): string => join(folder.dir, ...parts);
beforeAll(async () => {
  folder = await makeUserFolder("team-project");
  reader = await Reader.in(folder.dir);
});
afterAll(async () => await folder.remove());

test("docs/pipeline.md: the pipeline, data under version control, and a remote that a team shares", async () => {
  await reader.do("npx serval init && git init --quiet && git add . && git commit --quiet --message Start");
  await reader.follow("docs/pipeline.md", "npx serval repro");

  await mkdir(at("photos"));
  await cp(at("images/cat/2.jpg"), at("photos/2.jpg"));
  await reader.follow("docs/pipeline.md", "npx serval add photos # photos goes");

  const settings = findBlock("docs/pipeline.md", "[core]").lines.filter((line) => !line.includes("region"));
  await appendFile(at(".dvc/config"), `${settings.join("\n").replace("s3://BUCKET/some/prefix", "../../remote")}\n`);
  await reader.do(
    "git add . && git commit --quiet --message Photos && git init --quiet --bare ../team.git && git remote add origin ../team.git",
  );
  await reader.do("git push --quiet --set-upstream origin HEAD && git clone --quiet ../team.git ../other && cp -al node_modules ../other");
  await cp(at("images/cat/3.jpg"), at("photos/3.jpg"));
  const output = await reader.follow("docs/pipeline.md", "npx serval add photos # a folder", {
    put: { "# On another machine:": "cd ../other" },
  });
  expect(output).toContain("outs are in the workspace");

  const other = await Reader.in(join(dirname(folder.dir), "other"));
  await rename(join(other.dir, "data"), join(dirname(folder.dir), "disk"));
  await symlink("../disk", join(other.dir, "data"));
  await other.follow("docs/pipeline.md", "npx serval pull");
});
