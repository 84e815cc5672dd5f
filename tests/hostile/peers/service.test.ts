import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createOutput } from "../../../src/cli/output.ts";
import { runCli } from "../../../src/cli/main.ts";
import { readProxied } from "../../../src/deploy/compose/proxy-status.ts";
import { waitUntilReady } from "../../../src/deploy/checks/readiness.ts";
import { runSmoke } from "../../../src/deploy/checks/smoke.ts";
import { endless, json, page, redirect, startLyingServer, type Lie, type LyingServer } from "../../helpers/lying-server.ts";
import { recordedContext } from "../../helpers/recorded-output.ts";

const apiKey = "correct-horse-battery";
let liar: LyingServer;
/** An address that the user did not give. */
let canary: LyingServer;
beforeEach(async () => {
  [liar, canary] = [await startLyingServer(), await startLyingServer()];
});
afterEach(async () => {
  expect(canary.requests).toEqual([]);
  for (const one of [liar, canary]) await one.close();
});

describe("a service that lies to `serval smoke` and `serval deploy`", () => {
  test.each<[string, () => Lie, RegExp]>([
    ["by a redirect to another host", () => redirect(`${canary.url}/x`), /a redirect to .*, which is not followed/],
    ["by a redirect to cloud metadata", () => redirect("http://169.254.169.254/"), /which is not followed/],
    ["by a circle", () => (request, response) => redirect(`${request.url}x`)(request, response), /more than 5 redirects/],
    ["by an endless body", () => endless(), /more than 16777216 bytes/],
    ["by a page with the key", () => page(200), /^(?![^]*correct-horse)[^]*$/],
    ["by another shape", () => json([null]), /expected status ok/],
    ["by deep nesting", () => json(`${"[".repeat(100_000)}${"]".repeat(100_000)}`), /expected status ok/],
  ])("%s fails a check", async (_what, lie, message) => {
    liar.answer = lie();
    const { passed, checks } = await runSmoke({ url: liar.url, waitMs: 0, maxLatencyMs: 100, apiKey });
    expect([passed, checks.length]).toEqual([false, 1]);
    expect(checks[0]?.message).toMatch(message);
    expect(checks[0]?.message.length).toBeLessThan(400);
    // oxlint-disable-next-line no-control-regex -- none of them may be left
    expect(checks[0]?.message).not.toMatch(/[\0-\x1f\x7f-\x9f\u202e]/);
  });

  test("with answers of another shape at every address fails its checks, and nothing else", async () => {
    for (const value of [
      null,
      [],
      1,
      "x",
      {},
      { checks: [null] },
      { checks: [{}] },
      { paths: null, probabilities: [1], checks: 7 },
      { error: 1 },
    ]) {
      liar.answer = (request, response) => json(request.url === "/health" ? { status: "ok", model: 7 } : value)(request, response);
      const { passed, checks } = await runSmoke({ url: liar.url, waitMs: 0, maxLatencyMs: 1000 });
      expect([passed, checks.length]).toEqual([false, 7]);
    }
  });

  test("is not waited for by following it elsewhere, and a proxy neither", async () => {
    liar.answer = redirect(`${canary.url}/`);
    const ready = waitUntilReady(liar.url, { waitMs: 0, brokenBy: async () => await Promise.resolve(null) });
    await expect(ready).rejects.toMatchObject({ code: "E_DEPLOY_REFUSED", message: /which is not followed/ });
    await expect(readProxied(liar.url)).rejects.toMatchObject({ code: "E_DEPLOY_REFUSED", message: /which is not followed/ });
    liar.answer = endless();
    await expect(readProxied(liar.url)).rejects.toMatchObject({ code: "E_DEPLOY_REFUSED", message: /more than 1048576 bytes/ });
  });

  test("does not get commands through to the terminal", async () => {
    liar.answer = (request, response) => {
      if (request.url === "/health") json({ status: "ok", model: { name: "\u001b[2Jred", version: "\u009b31m" } })(request, response);
      else page(200)(request, response);
    };
    const context = recordedContext(".");
    expect(await runCli(["smoke", liar.url], context)).toBe(1);
    expect(context.stdout.text + context.stderr.text).toContain("\\u001b[2Jred");
    // oxlint-disable-next-line no-control-regex -- none of them may be left
    expect(context.stdout.text + context.stderr.text).not.toMatch(/[\0-\x08\x0b-\x1f\x7f-\x9f\u202e]/);
  });
});

test("names and texts reach the terminal with their control characters shown, and JSON means the same", () => {
  const written = { stdout: "", stderr: "" };
  const stream = (name: keyof typeof written): NodeJS.WritableStream =>
    ({ write: (text: string) => (written[name] += text) }) as unknown as NodeJS.WritableStream;
  const name = "a\u001b[31mb\u009bc\u202ed\u007f\r.jpg";
  const shown = String.raw`a\u001b[31mb\u009bc\u202ed\u007f\u000d.jpg`;
  const output = createOutput({ stdout: stream("stdout"), stderr: stream("stderr") });
  output.line(name);
  output.result({}, name);
  output.warn(name);
  output.progress(name, 1).end(name);
  expect(written).toEqual({ stdout: `${shown}\n`.repeat(2), stderr: `${shown}\n`.repeat(2) });
  written.stdout = "";
  createOutput({ json: true, stdout: stream("stdout") }).result({ name }, "");
  expect(written.stdout).not.toContain("\u009b");
  expect(JSON.parse(written.stdout)).toEqual({ name });
});
