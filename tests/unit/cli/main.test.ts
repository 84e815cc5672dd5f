import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { describe, expect, test } from "vitest";
import { runCli, VERBS } from "../../../src/cli/main.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";

const main = join(import.meta.dirname, "../../../src/cli/main.ts");

async function runProcess(args: string[], env: NodeJS.ProcessEnv = {}): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [main, ...args], { cwd: tmpdir(), env: { ...process.env, ...env } });
  const text = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => (text.stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (text.stderr += chunk.toString()));
  const [code] = (await once(child, "close")) as [number];
  return { code, ...text };
}

describe("the command line", () => {
  test("lists every verb with its summary in --help, on stdout", async () => {
    const { code, stdout, stderr } = await runProcess(["--help"]);
    expect([code, stderr]).toEqual([0, ""]);
    const text = stdout.replaceAll(/\s+/g, " ");
    for (const [name, { summary }] of Object.entries(VERBS))
      expect(text).toMatch(new RegExp(`\\b${name}\\b.* ${summary.replaceAll(".", "\\.")}`));
  });

  test("shows the arguments and options of a verb, also as `help VERB`", async () => {
    const asked = await runProcess(["init", "--help"]);
    expect(asked.code).toBe(0);
    expect(asked.stdout).toContain("Usage: serval init [options] [DIR]");
    expect(asked.stdout).toContain("--images <SOURCE>");
    expect((await runProcess(["help", "init"])).stdout).toBe(asked.stdout);
  });

  test("prints the version of the package", async () => {
    const { version } = JSON.parse(readFileSync(join(main, "../../../package.json"), "utf8")) as { version: string };
    expect(await runProcess(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
  });

  test.each([
    [["inot"], "E_USAGE: unknown command 'inot'\n(Did you mean init?)\n"],
    [["init", "--imagse", "x"], "E_USAGE: unknown option '--imagse'\n(Did you mean --images?)\n"],
    [["init", "a", "b"], "E_USAGE: too many arguments for 'init'. Expected 1 argument but got 2: a, b.\n"],
  ])("answers %j with E_USAGE and exit code 2", async (args, message) => {
    const context = recordedContext(tmpdir());
    expect(await runCli(args, context)).toBe(2);
    expect(context.stderr.text).toBe(`${message}  Run the command with --help.\n`);
    expect(context.stdout.text).toBe("");
  });

  test("says which Node it needs where an older one runs it", async () => {
    const older = "data:text/javascript,Object.defineProperty(process.versions,'node',{value:'20.20.2'})";
    const { code, stderr } = await runProcess(["status"], { NODE_OPTIONS: `--import=${older}` });
    expect([code, stderr]).toEqual([2, expect.stringContaining("E_NODE_VERSION: Serval needs Node 24.12 or newer; this is Node 20.20.2,")]);
    expect(stderr).toContain("npm install node@24");
  });

  test("prints an error's code, message and hint, and the stack only when SERVAL_LOG_LEVEL=debug asks for it", async () => {
    const plain = await runProcess(["init", join(tmpdir(), "serval-never-made"), "--name", "My Model"]);
    expect(plain.code).toBe(2);
    expect(plain.stderr).toMatch(/^E_PARAMS: .*"My Model"\.\n {2}Correct the path .*\n$/);
    const debug = await runProcess(["init", join(tmpdir(), "serval-never-made"), "--name", "My Model"], { SERVAL_LOG_LEVEL: "debug" });
    expect(debug.stderr).toMatch(/\n {4}at .*params\.ts:\d+/);
  });
});
