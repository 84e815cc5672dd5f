import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../../../src/cli/main.ts";
import { ServiceLog } from "../../../src/serve/log/log-stream.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";
import { runServal, startServal } from "../../helpers/serval-process.ts";
import { predictForm } from "../../helpers/service.ts";
import { colourPicture, writeTinyBundle } from "../../helpers/tiny-bundle.ts";

let cwd: string;
beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "serval-command-"));
  await writeTinyBundle(join(cwd, "models", "colours"));
});
afterAll(async () => await rm(cwd, { recursive: true }));

describe("serval serve", () => {
  it("serves the released model, logs to stdout and SERVAL_LOG_FILE, and ends with 0 on SIGTERM", async () => {
    const serving = startServal(cwd, ["serve", "--port", "0"], { SERVAL_LOG_FILE: "logs/service.log" });
    const url = await serving.address();
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(await serving.waitFor(/curl -F file=@image\.jpg (\S+)/)).toMatchObject({ 1: `${url}/predict` });
    const { status, body } = await predictForm({ url } as never, await colourPicture("red"));
    expect([status, body.label]).toEqual([200, "red"]);
    await serving.waitFor(/"route":"\/predict"/);
    const { code, stdout } = await serving.stop("SIGTERM");
    expect(code).toBe(0);
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.find(({ request_id: id }) => id === body.request_id)).toMatchObject({ level: "info", route: "/predict", label: "red" });
    expect(await readFile(join(cwd, "logs", "service.log"), "utf8")).toBe(stdout);
  });

  it("warns where it is to abstain and the model has no threshold, and only there", async () => {
    await writeTinyBundle(join(cwd, "cautious"), { manifest: { abstainBelow: 0.8 } });
    const started = async (model: string, env: NodeJS.ProcessEnv): Promise<string> => {
      const serving = startServal(cwd, ["serve", "--port", "0", "--model", model], env);
      await serving.address();
      return (await serving.stop("SIGTERM")).stderr;
    };
    const remark =
      "SERVAL_ABSTAIN is on, but colours answers every picture: it has no confidence below which it abstains. Its README.md says why.";
    expect(await started("colours", { SERVAL_ABSTAIN: "true" })).toContain(remark);
    expect(await started("colours", {})).not.toContain("abstain");
    expect(await started("cautious", { SERVAL_ABSTAIN: "true" })).not.toContain("abstain");
  });

  it("says that the port is taken, and by the exit code that nothing is served", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const { code, stderr } = await runServal(cwd, ["serve", "--port", String(port)]);
    other.close();
    expect(code).toBe(1);
    expect(stderr).toContain(`E_PORT_IN_USE: Port ${port} of 127.0.0.1 is taken.`);
    expect(stderr).toContain("--port");
  });

  it("refuses ports and hosts that cannot be", async () => {
    for (const [args, message] of [
      [["--port", "http"], 'E_USAGE: --port: expected a number from 0 to 65535, got "http".'],
      [["--port", "65536"], "E_USAGE: --port: expected"],
      [["--port", "0", "--host", "203.0.113.7"], "E_USAGE: 203.0.113.7 is not an address of this machine."],
    ] as const) {
      const context = recordedContext(cwd);
      expect(await runCli(["serve", ...args], context)).toBe(2);
      expect(context.stderr.text).toContain(message);
    }
  });

  it("refuses a damaged bundle by the name of the file, and never listens", async () => {
    const damaged = join(cwd, "damaged");
    await writeTinyBundle(damaged);
    await truncate(join(damaged, "model.onnx"), 200);
    const { code, stdout, stderr } = await runServal(cwd, ["serve", "--port", "0", "--model", "damaged"]);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toContain(`E_BUNDLE_CORRUPT: ${join(damaged, "model.onnx")}`);
  });

  it("refuses a model that does not give its known answers", async () => {
    const { manifest } = await writeTinyBundle(join(cwd, "unsure"), { sharpness: 1 });
    await writeTinyBundle(join(cwd, "wrong"), { manifest: { checks: manifest.checks } });
    const { code, stderr } = await runServal(cwd, ["serve", "--port", "0", "--model", "wrong"]);
    expect(code).toBe(1);
    expect(stderr).toContain("E_BUNDLE_CHECKS");
  });
});

describe("the service's log", () => {
  const collect = (): { stream: Writable; text: () => string } => {
    let text = "";
    return { stream: new Writable({ write: (chunk: Buffer, _encoding, done) => ((text += chunk.toString()), done()) }), text: () => text };
  };

  it("appends to the file that was there", async () => {
    const file = join(cwd, "deep", "er", "a.log");
    await mkdir(join(cwd, "deep", "er"), { recursive: true });
    await writeFile(file, "old\n");
    const log = new ServiceLog(collect().stream, file, () => undefined);
    log.write("new\n");
    await log.close();
    expect(await readFile(file, "utf8")).toBe("old\nnew\n");
  });

  it("continues without a file that cannot be written, and says so once", async () => {
    const output = collect();
    const warnings: string[] = [];
    const warned = Promise.withResolvers<void>();
    const folder = join(cwd, "a-folder.log");
    await mkdir(folder);
    const log = new ServiceLog(output.stream, folder, (message) => {
      warnings.push(message);
      warned.resolve();
    });
    log.write("one\n");
    await warned.promise;
    log.write("two\n");
    await log.close();
    expect(output.text()).toBe("one\ntwo\n");
    expect(warnings).toEqual([expect.stringContaining(`${folder}, so it is left out until it can: EISDIR`)]);
  });

  it("continues with a file that can be written again, on its own line", async () => {
    const warnings: string[] = [];
    const file = join(cwd, "back.log");
    await mkdir(file);
    const log = new ServiceLog(collect().stream, file, (message) => void warnings.push(message), 0);
    log.write("lost\n");
    await expect.poll(() => warnings.length).toBe(1);
    await rm(file, { recursive: true });
    await writeFile(file, "half a li");
    log.write("one\n");
    await expect.poll(() => warnings.length).toBe(2);
    log.write("two\n");
    await log.close();
    expect(await readFile(file, "utf8")).toBe("half a li\none\ntwo\n");
    expect(warnings[1]).toBe(`The log is written to ${file} again.`);
  });

  it("continues with the file when the reader of stdout has gone", async () => {
    const gone = new Writable({ write: (_chunk, _encoding, done) => done(new Error("EPIPE")) });
    const warnings: string[] = [];
    const file = join(cwd, "kept.log");
    const log = new ServiceLog(gone, file, (message) => void warnings.push(message));
    log.write("one\n");
    await new Promise((resolve) => gone.once("close", resolve));
    log.write("two\n");
    await log.close();
    expect(await readFile(file, "utf8")).toBe("one\ntwo\n");
    expect(warnings).toHaveLength(1);
  });
});
