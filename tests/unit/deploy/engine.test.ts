import { afterEach, beforeEach, expect, test } from "vitest";
import { createEngine, whatWasSaid, type Engine } from "../../../src/deploy/engine.ts";
import type { ServalError } from "../../../src/errors/serval-error.ts";
import { startPretendEngine, type PretendEngine } from "../../helpers/pretend-engine.ts";

let pretended: PretendEngine;
let engine: Engine;
beforeEach(async () => {
  pretended = await startPretendEngine((words) => {
    if (words[0] === "inspect") throw new Error("no such object: app");
    return `did ${words.join(" ")}`;
  });
  engine = createEngine({ env: pretended.env, cwd: process.cwd() });
});
afterEach(async () => await pretended.close());

test("a command that the engine refuses is an error with the engine's words", async () => {
  expect(await engine.docker(["ps", "--all"])).toBe("did ps --all");
  const refused = engine.docker(["inspect", "app"]);
  await expect(refused).rejects.toMatchObject({
    code: "E_ENGINE_COMMAND",
    message: expect.stringContaining("docker inspect ended with 22: "),
  });
  expect(whatWasSaid((await refused.catch((error: unknown) => error)) as ServalError)).toContain("no such object: app");
  expect(await engine.ask(["inspect", "app"])).toBe(null);
});
