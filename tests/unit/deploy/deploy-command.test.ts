import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { runCli } from "../../../src/cli/main.ts";
import { createMarks } from "../../../src/deploy/compose/release-marks.ts";
import { pretendProject, startPretendCompose, type PretendCompose } from "../../helpers/pretend-compose.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";

const image = (digit: string): string => `sha256:${digit.repeat(64)}`;
const [v0, v1] = [image("0"), image("1")];
const marks = createMarks(pretendProject);

let project: PretendCompose;
beforeEach(async () => {
  // Nothing is asked of a service here.
  project = await startPretendCompose("http://127.0.0.1:1");
  for (const name of ["PATH", "NO_PROXY", "COMPOSE_PROJECT_NAME"]) vi.stubEnv(name, project.env[name]);
  project.tag([marks.current, v1], [marks.note("current", "app:v1"), v1]);
  project.tag([marks.previous, v0], [marks.note("previous", "app:v0"), v1], [marks.note("previous-model", "models:/x/1"), v1]);
  project.add(v1);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await project.close();
});

async function deploy(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const context = recordedContext(project.dir);
  const code = await runCli(["deploy", "--dir", project.dir, ...args], context);
  return { code, stdout: context.stdout.text, stderr: context.stderr.text };
}

describe("serval deploy --undo", () => {
  test("takes no --model: the previous version brings the one that it had", async () => {
    const { code, stderr } = await deploy("--undo", "--model", "models:/x/2");
    expect([code, stderr]).toEqual([2, expect.stringContaining("E_USAGE: --model needs a VERSION")]);
    expect(project.containers).toMatchObject([{ image: v1, running: true }]);
  });

  test("with --dry says what it would do, and does nothing", async () => {
    const before = [...project.tags];
    expect(await deploy("--undo", "--dry")).toMatchObject({
      code: 0,
      stdout: "Serving: app:v1.\nBefore it: app:v0 with model models:/x/1.\n--undo would go back to app:v0 with model models:/x/1.\n",
    });
    expect([...project.tags]).toEqual(before);
  });

  test("with --dry says where there is nothing to go back to, or its image is gone", async () => {
    project.tags.delete(marks.previous);
    expect((await deploy("--undo", "--dry")).stdout).toContain(
      "--undo would be refused: The image of app:v0, the previous version, was removed from this machine, and was not pulled from a registry.",
    );
    project.tags.set(marks.note("origin", `app@${v0}`), v1);
    expect((await deploy("--undo", "--dry")).stdout).toContain(`--undo would pull app@${v0} and go back to app:v0`);
    expect((await deploy("--undo", "--dry", "--no-pull")).stdout).toContain("and --no-pull says not to get it again.");
    project.tags.delete(marks.note("previous", "app:v0"));
    expect((await deploy("--undo", "--dry")).stdout).toContain(
      "--undo would be refused: There is no version to go back to: none served here before this one.",
    );
  });

  test("with --dry after a deploy that was cut short ends with that", async () => {
    project.add(image("2"), { admitted: false });
    expect((await deploy("--undo", "--dry")).stdout).toMatch(
      /^To be put right first\. .*\n[^]*--undo would do that only: app:v1 serves then\.\n$/,
    );
    expect(project.containers).toHaveLength(2);
  });
});

test("serval deploy --dry names what would be deployed, or asks for it", async () => {
  expect((await deploy("--dry", "app:v2", "--model", "models:/x/3")).stdout).toContain(
    "app:v2 with model models:/x/3 would be deployed to compose.",
  );
  expect((await deploy("--dry")).stdout).toContain("Name a VERSION to deploy, or --undo.");
});

test("a deploy that leaves nothing that serves ends with 3, and says what to do", async () => {
  project.containers.splice(0);
  project.add(v1, { running: false, broken: true });
  project.tag(["app:v2", image("2")], ["app:latest", v1]);
  const { code, stdout, stderr } = await deploy("app:v2", "--no-pull", "--wait", "0.2", "--watch", "0");
  expect([code, stdout]).toEqual([3, expect.stringContaining("app:v2 does not serve, and no other version does.\n")]);
  expect(stderr).toMatch(/^E_DEPLOY_DOWN: .*\n {2}Deploy a version that worked: `serval deploy VERSION`\.\n$/s);
});
