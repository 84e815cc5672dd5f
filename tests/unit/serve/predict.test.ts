import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { preprocessImage } from "../../../src/image/preprocess-image.ts";
import { getJson, predictBody, predictForm, startTestService, type TestService } from "../../helpers/service.ts";
import { colourPicture, directAnswer, type Colour } from "../../helpers/tiny-bundle.ts";

let service: TestService;
beforeAll(async () => void (service = await startTestService({ bundle: { labels: ["blue", "green", "red"] } })));
afterAll(async () => await service.close());

describe("POST /predict", () => {
  it.each<Colour>(["red", "green", "blue"])("knows a %s picture", async (colour) => {
    const { status, body } = await predictForm(service, await colourPicture(colour, 2));
    expect(status).toBe(200);
    expect(body.label).toBe(colour);
    expect(body.confidence).toBeGreaterThan(0.8);
  });

  it("answers with label, confidence, probabilities of every label, model, request id and timings", async () => {
    const { headers, body } = await predictForm(service, await colourPicture("red"));
    expect(Object.keys(body)).toEqual(["label", "confidence", "probabilities", "model", "request_id", "timings_ms"]);
    expect(Object.keys(body.probabilities)).toEqual(["blue", "green", "red"]);
    expect(body.confidence).toBe(body.probabilities.red);
    expect(body.probabilities.blue + body.probabilities.green + body.probabilities.red).toBeCloseTo(1, 6);
    expect(body.model).toEqual({ name: "colours", version: service.bundle.digest.slice(0, 12) });
    expect(body.request_id).toMatch(/^[0-9a-f-]{36}$/);
    expect(headers.get("x-request-id")).toBe(body.request_id);
    const { preprocess, queue, model, total } = body.timings_ms;
    expect(Math.min(preprocess, model)).toBeGreaterThan(0);
    expect(queue).toBeGreaterThanOrEqual(0);
    expect(total).toBeGreaterThanOrEqual(preprocess + queue + model - 0.01);
  });

  it("gives every request its own id", async () => {
    const picture = await colourPicture("red");
    const [first, second] = [await predictForm(service, picture), await predictForm(service, picture)];
    expect(first.body.request_id).not.toBe(second.body.request_id);
  });

  it("takes the image as the body, with its own content type or none in particular", async () => {
    const jpeg = await colourPicture("green", 4);
    const expected = (await predictForm(service, jpeg)).body.probabilities;
    for (const type of ["image/jpeg", "IMAGE/JPEG", "image/jpeg; charset=binary", "application/octet-stream", "image/vnd.example+x"]) {
      const { status, body } = await predictBody(service, jpeg, type);
      expect([type, status, body.probabilities]).toEqual([type, 200, expected]);
    }
  });

  it("goes by the bytes and not by the name or content type", async () => {
    const png = await colourPicture("blue", 1, "png");
    expect((await predictForm(service, png, "picture.txt")).body.label).toBe("blue");
    expect((await predictBody(service, png, "image/jpeg")).body.label).toBe("blue");
  });

  it("takes a form with other text fields beside the file", async () => {
    const data = new FormData();
    data.append("comment", "before");
    data.append("file", new Blob([await colourPicture("red")]), "a.jpg");
    data.append("comment", "after");
    const response = await fetch(`${service.url}/predict`, { method: "POST", body: data });
    expect(((await response.json()) as { label: string }).label).toBe("red");
  });

  it("gives 50 requests at once the same answers as one by one", async () => {
    const colours: Colour[] = ["red", "green", "blue"];
    const pictures = await Promise.all(Array.from({ length: 50 }, async (_, i) => await colourPicture(colours[i % 3]!, i)));
    const oneByOne: unknown[] = [];
    for (const picture of pictures) oneByOne.push((await predictForm(service, picture)).body.probabilities);
    const together = await Promise.all(
      pictures.map(async (picture) => (await predictForm(service, picture)).body.probabilities as unknown),
    );
    expect(together).toEqual(oneByOne);
    expect(new Set(oneByOne.map((answer) => JSON.stringify(answer))).size).toBeGreaterThan(20);
  });
});

describe("training and service agree", () => {
  it("answers what a session says about preprocessImage's bytes, within 1e-6", async () => {
    const { preprocess } = service.bundle.manifest;
    for (let i = 0; i < 12; i++) {
      const picture = await colourPicture((["red", "green", "blue"] as const)[i % 3]!, i, i % 2 ? "png" : "jpeg");
      const expected = await directAnswer(service.bundle.model, preprocess, picture);
      const { body } = await predictForm(service, picture);
      for (const [k, label] of service.bundle.manifest.labels.entries()) expect(body.probabilities[label]).toBeCloseTo(expected[k]!, 6);
    }
  });

  it("would notice another kernel, another fit or a missing crop", async () => {
    const { preprocess } = service.bundle.manifest;
    const picture = await colourPicture("red", 3, "png");
    const limits = { maxBytes: 1e7, maxPixels: 1e7 };
    const bytes = await preprocessImage(picture, preprocess, limits);
    for (const change of [{ kernel: "nearest" as const }, { fit: "pad" as const }, { crop: null }]) {
      expect(Buffer.from(await preprocessImage(picture, { ...preprocess, ...change }, limits)).equals(bytes)).toBe(false);
    }
  });
});

it("counts each prediction by its label", async () => {
  const count = async (): Promise<number> => {
    const text = await (await fetch(`${service.url}/metrics`)).text();
    return Number(/serval_predictions_total\{label="green",model_version="[0-9a-f]{12}"\} (\d+)/.exec(text)?.[1] ?? 0);
  };
  const before = await count();
  await predictForm(service, await colourPicture("green"));
  expect(await count()).toBe(before + 1);
  expect((await getJson(service, "/health")).status).toBe(200);
});
