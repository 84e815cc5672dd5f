import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const script = join(import.meta.dirname, "../../../scripts/verified_image.sh");
const digest = `sha256:${"5e".repeat(32)}`;
const commit = "c0ffee".padEnd(40, "0");
let dir: string;

/** Programs in place of the engine and of GitHub's command: they note what they are asked, and gh refuses where it is told to. */
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-verified-"));
  await writeFile(join(dir, "docker"), `#!/bin/sh\nprintf 'latest: Pulling from me\\nDigest: %s\\nStatus: Downloaded\\n' "$DIGEST"\n`);
  await writeFile(
    join(dir, "gh"),
    `#!/bin/sh\nprintf '%s ' "$@" > ${join(dir, "asked")}\necho 'Verification succeeded!'\nexit "$GH_STATUS"\n`,
  );
  for (const name of ["docker", "gh"]) await chmod(join(dir, name), 0o755);
});
afterAll(async () => await rm(dir, { recursive: true }));

async function verify(args: readonly string[], { status = 0, pulled = digest } = {}): Promise<{ code: number; stdout: string }> {
  const env = { PATH: [dir, process.env["PATH"]].join(delimiter), DIGEST: pulled, GH_STATUS: String(status) };
  return await new Promise((resolve) => {
    execFile("bash", [script, ...args], { env }, (error, stdout) => resolve({ code: Number(error?.code ?? 0), stdout }));
  });
}
const image = "docker.io/me/cats-dogs-classifier:latest";

test("prints the name with the digest that was pulled, after gh verified just that digest, its workflow, branch and commit", async () => {
  const name = `docker.io/me/cats-dogs-classifier@${digest}`;
  expect(await verify([image, "me/serval", commit])).toEqual({ code: 0, stdout: `${name}\n` });
  expect(await readFile(join(dir, "asked"), "utf8")).toBe(
    `attestation verify oci://${name} --repo me/serval --signer-workflow me/serval/.github/workflows/ci.yml ` +
      `--source-ref refs/heads/main --source-digest ${commit} --deny-self-hosted-runners `,
  );
  expect((await verify([image, "me/serval", ""])).stdout).toBe(`${name}\n`);
  expect(await readFile(join(dir, "asked"), "utf8")).not.toContain("--source-digest");
});

test("prints no name where gh refuses, or where the engine names no digest", async () => {
  expect(await verify([image, "me/serval", commit], { status: 1 })).toEqual({ code: 1, stdout: "" });
  expect(await verify([image, "me/serval", commit], { pulled: "" })).toEqual({ code: 1, stdout: "" });
});

test("takes nothing but the name of the image with a tag, of a repository and of a commit", async () => {
  const wrong = [
    [],
    [image],
    [image, "me/serval", "main"],
    [image, "me/serval; id"],
    [image, "--owner"],
    ["--all-tags", "me/serval"],
    ["docker.io/me/cats-dogs-classifier", "me/serval"],
    ["docker.io/me/cats-dogs-classifier:$(id)", "me/serval"],
    ["docker.io/me/another:latest", "me/serval"],
    [image, "me/serval", commit, "more"],
  ];
  for (const args of wrong) expect([args, await verify(args)]).toEqual([args, { code: 2, stdout: "" }]);
});
