import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { brokenPromises, probeWhile, type Probe } from "../helpers/live-probe.ts";
import { sendBody, type ShortAnswer } from "../helpers/send-body.ts";
import { form, readReply } from "../helpers/service.ts";
import { startServal, type ServalProcess } from "../helpers/serval-process.ts";
import { colourPicture, writeTinyBundle } from "../helpers/tiny-bundle.ts";

/** 64 images of this side have 4.9 million values. */
const side = 160;
const most = 64;
const mebibyte = 1024 * 1024;

let folder: string;
let serving: ServalProcess;
let url: string;
let picture: Buffer;
const measured: Record<string, object> = {};
/** Where other programs have the machine, a measurement may be theirs: it is made again. */
const again = { retry: 2 };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "serval-bodies-"));
  await writeTinyBundle(join(folder, "bundle"), { preprocess: { width: side, height: side, crop: null } });
  picture = await colourPicture("red", 1);
  serving = startServal(folder, ["serve", "--port", "0", "--model", join(folder, "bundle")]);
  url = await serving.address();
});
afterAll(async () => {
  const { code } = await serving.stop();
  await rm(folder, { recursive: true });
  console.table(measured);
  expect(code).toBe(0);
});

const infer = async (body: Buffer | string): Promise<ShortAnswer> => await sendBody(`${url}/v2/models/colours/infer`, body);

const input = (count: number): string => `"name":"images","datatype":"UINT8","shape":[${count},${side},${side},3]`;
const pixels = (count: number): string => "7,".repeat(count * side * side * 3 - 1) + "7";
/** A request for one image or more, with `rest` behind its inputs. */
const request = (count: number, rest = ""): string => `{"inputs":[{${input(count)},"data":[${pixels(count)}]}]${rest}}`;
const withData = (data: string): string => `{"inputs":[{${input(1)},"data":${data}}]}`;
const outputs = (count: number, name = "features"): string => `,"outputs":[${`{"name":"${name}"},`.repeat(count - 1)}{"name":"${name}"}]`;
const repeated = (part: string, bytes: number): string => part.repeat(Math.floor(bytes / part.length));

/** What is sent, and the status that answers it. */
const attacks: readonly [name: string, body: () => string, status: number][] = [
  ["1,000 times the same output", () => request(1, outputs(1000)), 400],
  ["200,000 times the same output", () => request(1, outputs(200_000)), 400],
  ["8 million numbers", () => withData(`[${repeated("1,", 15.9 * mebibyte)}1]`), 400],
  ["8 million numbers for another model's size", () => withData(`[${repeated("1,", 15.9 * mebibyte)}1]`).replace("160", "161"), 400],
  ["8 million numbers in an unknown field", () => `{"inputs":[],"more":[${repeated("1,", 15.9 * mebibyte)}1]}`, 400],
  ["5 million empty arrays", () => withData(`[${repeated("[],", 15.9 * mebibyte)}[]]`), 400],
  ["5 million empty arrays as the body", () => `[${repeated("[],", 15.9 * mebibyte)}[]]`, 400],
  ["5 million empty objects as outputs", () => `{"inputs":[{${input(1)}}],"outputs":[${repeated("{},", 15.9 * mebibyte)}{}]}`, 400],
  ["brackets 8 million deep", () => withData(repeated("[", 8 * mebibyte) + repeated("]", 7.9 * mebibyte)), 400],
  ["objects 3 million deep", () => repeated(`{"a":`, 15.9 * mebibyte), 400],
  ["a string of 16 MB", () => `{"id":"${repeated("x", 15.9 * mebibyte)}"}`, 400],
  ["a string of 16 MB in the data", () => withData(`["${repeated("\\u0041", 15.9 * mebibyte)}"]`), 400],
  ["a number of 16 million digits", () => withData(`[${repeated("1", 15.9 * mebibyte)}]`), 400],
  ["a million keys", () => `{${Array.from({ length: 1_000_000 }, (_, i) => `"k${i}":0`).join()}}`, 400],
  ["one key a million times", () => `{${repeated('"__proto__":{},', 15.9 * mebibyte)}"inputs":[]}`, 400],
  ["spaces without end", () => `{"inputs":[{${input(1)},"data":[${repeated(" ", 15.8 * mebibyte)}7]}]}`, 400],
  ["64 images as JSON", () => request(most), 200],
  ["64 images as JSON, and all of their features", () => request(most, outputs(1)), 400],
];

function expectCalm(attack: string, probe: Probe): void {
  measured[attack] = { ...probe.waits, "clock p99": probe.clock.p99, "clock max": probe.clock.max };
  expect(brokenPromises(probe)).toEqual([]);
}

async function expectPrediction(): Promise<void> {
  const { status, body } = await readReply(await fetch(`${url}/predict`, { method: "POST", body: form(["file", picture]) }));
  expect([status, body.label]).toEqual([200, "red"]);
}

describe("while a body is read, /health/live answers at once:", () => {
  it.each(attacks)("%s", again, async (name, body, status) => {
    const bytes = Buffer.from(body());
    const probe = await probeWhile({ url: `${url}/health/live`, pid: serving.child.pid }, async () => await infer(bytes));
    const { result } = probe;
    expect([result.status, result.start]).toEqual([status, expect.stringMatching(status === 200 ? /^\{"model_name"/ : /^\{"error":"E_/)]);
    expectCalm(name, probe);
    await expectPrediction();
  });
});

describe("while eight such bodies are read at once,", () => {
  it("/health/live answers at once, and a picture gets its prediction", again, async () => {
    const bodies = attacks.slice(2, 10).map(([, body]) => Buffer.from(body()));
    const probe = await probeWhile({ url: `${url}/health/live`, pid: serving.child.pid }, async () => {
      const answers = Promise.all(bodies.map(infer));
      for (let i = 0; i < 3; i++) await expectPrediction();
      return await answers;
    });
    // Where all of them together are more than the service holds, some are sent away.
    expect(probe.result.filter(({ status }) => status !== 400 && status !== 503)).toEqual([]);
    expectCalm("eight at once", probe);
  });

  it("the answers with all features of 64 images are as many as there is memory for", again, async () => {
    const bytes = Buffer.from(request(most, `${outputs(1).slice(0, -2)},"parameters":{"binary_data":true}}]`));
    const probe = await probeWhile({ url: `${url}/health/live`, pid: serving.child.pid }, async () => {
      const answers = Promise.all(Array.from({ length: 8 }, async () => await infer(bytes)));
      await expectPrediction();
      return await answers;
    });
    expect(probe.result.filter(({ status }) => status === 200).length).toBeGreaterThan(0);
    expect(probe.result.filter(({ status }) => status !== 200 && status !== 503)).toEqual([]);
    expectCalm("64 images with features, eight at once", probe);
  });
});

describe("a large body of JSON that no route accepts", () => {
  it.each([
    ["/feedback", "POST", 413],
    ["/predict", "POST", 415],
    ["/predict/batch", "POST", 415],
    ["/model/rollback", "POST", 403],
    ["/model/pin", "DELETE", 403],
  ])("is thrown away unread at %s", again, async (path, method, status) => {
    const bytes = Buffer.from(`[${repeated("[],", 15.9 * mebibyte)}[]]`);
    const probe = await probeWhile(
      { url: `${url}/health/live`, pid: serving.child.pid },
      async () => await sendBody(`${url}${path}`, bytes, { method }),
    );
    expect(probe.result.status).toBe(status);
    expectCalm(`${method} ${path}`, probe);
  });
});
