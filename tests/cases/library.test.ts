import { readFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fastify from "fastify";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadClassifier, ServalError, type LoadedClassifier } from "../../src/index.ts";
import { colourPicture, writeTinyBundle } from "../helpers/tiny-bundle.ts";

let dir: string;
let classifier: LoadedClassifier;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "serval-library-"));
  await writeTinyBundle(join(dir, "bundle"));
  classifier = await loadClassifier(join(dir, "bundle"), { workers: 1 });
});
afterAll(async () => {
  await classifier.close();
  await rm(dir, { recursive: true, force: true });
});

test("a classifier answers with a label and probabilities, and says what it is", async () => {
  const answer = await classifier.classify(await colourPicture("red"));
  expect(answer).toEqual({
    label: "red",
    confidence: answer.probabilities["red"],
    probabilities: { blue: expect.closeTo(1 - answer.confidence, 5), red: expect.any(Number) },
    unsure: false,
    unknown: false,
  });
  expect(answer.confidence).toBeGreaterThan(0.9);
  expect([classifier.name, classifier.version, classifier.labels]).toEqual([
    "colours",
    expect.stringMatching(/^[0-9a-f]{12}$/),
    ["blue", "red"],
  ]);
});

test("a classifier takes a Buffer, a Uint8Array and an ArrayBuffer, many at once, and leaves them as they were", async () => {
  const picture = await colourPicture("blue");
  const bytes = new Uint8Array(picture);
  const before = Buffer.from(bytes);
  const answers = await Promise.all(
    [...Array.from({ length: 100 }, () => bytes), bytes.slice().buffer, picture].map(async (p) => await classifier.classify(p)),
  );
  expect(new Set(answers.map(({ label }) => label))).toEqual(new Set(["blue"]));
  expect(Buffer.from(bytes).equals(before)).toBe(true);
});

test("a classifier refuses what is not a picture by a code, and answers the next one", async () => {
  await expect(classifier.classify(Buffer.from("I am a cat"))).rejects.toMatchObject({ code: "E_IMAGE_FORMAT" });
  await expect(classifier.classify("photo.jpg" as never)).rejects.toThrow(
    "expected the bytes of a picture (a Buffer or Uint8Array), got string",
  );
  expect((await classifier.classify(await colourPicture("red"))).label).toBe("red");
  const error: unknown = await loadClassifier(join(dir, "nowhere")).catch((failure: unknown) => failure);
  expect([error instanceof ServalError, (error as ServalError).code]).toEqual([true, "E_BUNDLE_MISSING"]);
});

test("a classifier that is closed, or called off, says so", async () => {
  const stop = new AbortController();
  stop.abort(new Error("not wanted any more"));
  await expect(classifier.classify(await colourPicture("red"), { signal: stop.signal })).rejects.toThrow("not wanted any more");
  let closed: LoadedClassifier;
  {
    await using scoped = await loadClassifier(join(dir, "bundle"), { workers: 1 });
    closed = scoped;
  }
  await expect(closed.classify(await colourPicture("red"))).rejects.toMatchObject({ code: "E_INFERENCE_STOPPED" });
});

test("a classifier works in a route of Fastify", async () => {
  const app = fastify();
  app.addContentTypeParser("image/jpeg", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  app.post("/", async ({ body }) => await classifier.classify(body as Buffer));
  const payload = await readFile(join(dir, "bundle/checks/red.jpg"));
  const reply = await app.inject({ method: "POST", url: "/", headers: { "content-type": "image/jpeg" }, payload });
  expect([reply.statusCode, reply.json<{ label: string }>().label]).toEqual([200, "red"]);
  await app.close();
});
