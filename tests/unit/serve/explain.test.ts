import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { renderSvg } from "../../../src/image/render.ts";
import { form, predictForm, readReply, startTestService, type JsonReply, type TestService } from "../../helpers/service.ts";

let service: TestService;
/** Blue with a red square at the lower right: a place to find. */
let picture: Buffer;
beforeAll(async () => {
  service = await startTestService({ bundle: { preprocess: { width: 32, height: 32, crop: null } } });
  picture = await renderSvg(
    '<svg xmlns="http://www.w3.org/2000/svg" width="160" height="80"><rect width="160" height="80" fill="#00f"/><rect x="120" y="40" width="40" height="40" fill="#f00"/></svg>',
    { format: "png" },
  );
});
afterAll(async () => await service.close());

async function explain(query = "", headers: Record<string, string> = {}): Promise<Response> {
  return await fetch(`${service.url}/explain${query}`, { method: "POST", body: form(["file", picture]), headers });
}
const explainJson = async (query?: string): Promise<JsonReply> => await readReply(await explain(query));

describe("POST /explain", () => {
  it("gives a map whose mean is the logit, and the answer of /predict beside it", async () => {
    const { status, body } = await explainJson();
    expect(status).toBe(200);
    expect([body.label, body.explained]).toEqual(["blue", "blue"]);
    const { probabilities } = (await predictForm(service, picture)).body;
    expect(body.probabilities).toEqual(probabilities);
    expect([body.map.width, body.map.height]).toEqual([32, 32]);
    const values = (body.map.values as number[][]).flat();
    expect(values.reduce((sum, value) => sum + value, 0) / values.length).toBeCloseTo(body.logit, 4);
  });

  it("shows where the class is that was asked for", async () => {
    const { body } = await explainJson("?label=red");
    expect([body.label, body.explained]).toEqual(["blue", "red"]);
    const rows = body.map.values as number[][];
    // The red square covers the lower right; 6 is the model's sharpness.
    expect(rows[28]![30]).toBeCloseTo(6, 1);
    expect(rows[3]![3]).toBeCloseTo(0, 5);
    expect(rows[28]![3]).toBeCloseTo(0, 5);
    const unknown = await explainJson("?label=purple");
    expect([unknown.status, unknown.body.error.code]).toEqual([400, "E_LABEL_UNKNOWN"]);
  });

  it("draws the map over the picture, in the picture's own shape, for a client that takes a PNG", async () => {
    for (const response of [await explain("?label=red&format=png"), await explain("?label=red", { accept: "image/png" })]) {
      expect(response.headers.get("content-type")).toBe("image/png");
      const { data, info } = await sharp(Buffer.from(await response.arrayBuffer()))
        .raw()
        .toBuffer({ resolveWithObject: true });
      expect([info.width, info.height, info.channels]).toEqual([448, 224, 3]);
      const pixel = (x: number, y: number): number[] => [...data.subarray((y * 448 + x) * 3, (y * 448 + x) * 3 + 3)];
      // Cold: as it was. Hot: red under yellow.
      expect(pixel(40, 40)).toEqual([0, 0, 255]);
      const [r, g, b] = pixel(400, 180) as [number, number, number];
      expect(r).toBeGreaterThan(240);
      expect(g).toBeGreaterThan(120);
      expect(b).toBeLessThan(90);
    }
  });

  it("explains a model with float16 weights too, as the released one has", async () => {
    const half = await startTestService({ bundle: { preprocess: { width: 32, height: 32, crop: null }, weights: "float16" } });
    const reply = async ({ url }: TestService): Promise<JsonReply> =>
      await readReply(await fetch(`${url}/explain?label=red`, { method: "POST", body: form(["file", picture]) }));
    const [got, expected] = [await reply(half), await reply(service)];
    expect([got.status, got.body.map]).toEqual([200, expected.body.map]);
    await half.close();
  });

  it("says so where a model cannot be explained, and continues predicting", async () => {
    // Its classifier's weights are not the ones in the file.
    const other = await startTestService({ bundle: { manifest: { labels: ["blue", "red"] }, weights: "wrong" } });
    const response = await readReply(await fetch(`${other.url}/explain`, { method: "POST", body: form(["file", picture]) }));
    expect([response.status, response.body.error.code]).toEqual([409, "E_EXPLAIN"]);
    expect(response.body.error.message).toContain("it is not average pooling and one linear layer");
    expect((await predictForm(other, picture)).status).toBe(200);
    await other.close();
  });
});
