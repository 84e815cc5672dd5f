import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}
interface Job {
  readonly permissions?: Readonly<Record<string, string>>;
  readonly steps: readonly Step[];
}
interface Workflow {
  readonly file: string;
  readonly text: string;
  readonly permissions: unknown;
  readonly jobs: Readonly<Record<string, Job>>;
}

const folder = join(import.meta.dirname, "../../../.github/workflows");
const workflows = readdirSync(folder).map((file): Workflow => {
  const text = readFileSync(join(folder, file), "utf8");
  return { file, text, ...(parse(text) as Pick<Workflow, "permissions" | "jobs">) };
});
const steps = workflows.flatMap(({ file, jobs }) =>
  Object.entries(jobs).flatMap(([job, { steps: own }]) => own.map((step, i) => ({ at: `${file} ${job} step ${i + 1}`, ...step }))),
);

test("every action is named by its commit, with the version as a comment", () => {
  const lines = workflows.flatMap(({ file, text }) =>
    text.split("\n").flatMap((line, i) => (/^\s*-?\s*uses:/.test(line) ? [`${file}:${i + 1}: ${line.trim()}`] : [])),
  );
  expect(lines.length).toBeGreaterThan(10);
  expect(lines.filter((line) => !/uses: [\w-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(line))).toEqual([]);
});

test("an action has the same commit in every workflow", () => {
  const commits = new Map<string, Set<string>>();
  for (const { uses } of steps) {
    const [name, commit] = uses?.split("@") ?? [];
    if (name !== undefined && commit !== undefined) commits.set(name, (commits.get(name) ?? new Set()).add(commit));
  }
  expect([...commits].filter(([, found]) => found.size > 1).map(([name]) => name)).toEqual([]);
});

test("no checkout leaves its token behind for the steps after it", () => {
  const checkouts = steps.filter(({ uses }) => uses?.startsWith("actions/checkout@") === true);
  expect(checkouts.length).toBeGreaterThan(4);
  expect(checkouts.filter((step) => step.with?.["persist-credentials"] !== false).map(({ at }) => at)).toEqual([]);
});

test("each job may read the code, and only the jobs that publish may write", () => {
  expect(workflows.filter(({ permissions }) => JSON.stringify(permissions) !== '{"contents":"read"}').map(({ file }) => file)).toEqual([]);
  const beyond = workflows.flatMap(({ file, jobs }) =>
    Object.entries(jobs).flatMap(([job, { permissions = {} }]) =>
      Object.entries(permissions)
        .filter(([key, value]) => `${key} ${value}` !== "contents read")
        .map(([key, value]) => `${file} ${job}: ${key} ${value}`),
    ),
  );
  expect(beyond).toEqual([
    "cd.yml deploy: attestations read",
    "ci.yml publish: id-token write",
    "ci.yml publish: attestations write",
    "pages.yml publish: pages write",
    "pages.yml publish: id-token write",
    "release.yml npm: id-token write",
    "release.yml release: contents write",
    "train.yml propose: contents write",
    "train.yml propose: pull-requests write",
  ]);
});

test("a job that may write, or sign, runs no code of the packages that npm installs", () => {
  const powerful = workflows.flatMap(({ file, jobs }) =>
    Object.entries(jobs)
      .filter(([, { permissions = {} }]) => Object.values(permissions).includes("write"))
      .map(([job, { steps: own }]) => ({ at: `${file} ${job}`, commands: own.map(({ run = "" }) => run).join("\n") })),
  );
  expect(powerful.filter(({ commands }) => /setup\.sh|npm (ci|install|run|test)|npx/.test(commands)).map(({ at }) => at)).toEqual([]);
});

test("no command has a value of the event written into it: values come as variables, which a shell does not read as code", () => {
  expect(steps.filter(({ run }) => run?.includes("${{") === true).map(({ at }) => at)).toEqual([]);
});

test("a secret is known to the one step that needs it", () => {
  const outside = workflows.filter(({ jobs, text }) => {
    const inSteps = JSON.stringify(Object.values(jobs).map((job) => job.steps)).split("secrets.").length;
    return inSteps !== text.split("secrets.").length;
  });
  expect(outside.map(({ file }) => file)).toEqual([]);
});

test("what is deployed is the image whose attestation was verified, by its digest", () => {
  const deploy = workflows.find(({ file }) => file === "cd.yml")?.jobs["deploy"]?.steps ?? [];
  const [verify, use] = ["scripts/verified_image.sh", "serval -- deploy"].map((command) =>
    deploy.findIndex(({ run }) => run?.includes(command) === true),
  );
  expect(verify).toBeGreaterThan(0);
  expect(use).toBeGreaterThan(verify ?? 0);
  expect(deploy[use ?? 0]).toMatchObject({
    env: { IMAGE: "${{ steps.verified.outputs.image }}" },
    run: expect.stringMatching(/"\$IMAGE"$/) as string,
  });
  const publish = workflows.find(({ file }) => file === "ci.yml")?.jobs["publish"]?.steps ?? [];
  const attest = publish.find(({ uses }) => uses?.startsWith("actions/attest@") === true);
  expect(attest?.with).toMatchObject({ "subject-digest": "${{ steps.push.outputs.digest }}", "push-to-registry": true });
});
