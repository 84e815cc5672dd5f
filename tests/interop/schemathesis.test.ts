import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestService, type TestService } from "../helpers/service.ts";
import { pythonProgram } from "./python.ts";

let service: TestService;
beforeAll(async () => void (service = await startTestService()));
afterAll(async () => await service.close());

test("schemathesis finds no request that the service answers otherwise than /openapi.json says", async () => {
  const args = [
    "run",
    `${service.url}/openapi.json`,
    "--phases=examples,coverage,fuzzing",
    "--max-examples=25",
    "--generation-deterministic",
    // That a text is a picture, or a label one of the model's, cannot be said in a schema: refusing such requests is correct.
    "--exclude-checks=positive_data_acceptance",
    "--request-timeout=20",
    "--no-color",
  ];
  const { stdout } = await promisify(execFile)(pythonProgram("schemathesis"), args, { cwd: service.root, maxBuffer: 1 << 26 }).catch(
    (error: Error & { stdout?: string }) => {
      throw new Error(`schemathesis found something:\n${error.stdout ?? error.message}`);
    },
  );
  const [, generated] = /(\d+) generated, \d+ passed/.exec(stdout) ?? [];
  expect(Number(generated)).toBeGreaterThan(300);
  // An unforeseen error would be in the log, whatever the answer was.
  expect(service.lines.filter((line) => line.includes('"E_INTERNAL"'))).toEqual([]);
});
