import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { form, predictBody, predictForm, readReply, startTestService, type JsonReply, type TestService } from "../../helpers/service.ts";
import { colourPicture } from "../../helpers/tiny-bundle.ts";

let service: TestService;
beforeAll(async () => void (service = await startTestService({ workers: 2 })));
afterAll(async () => await service.close());

async function postBatch(data: FormData): Promise<{ readonly type: string | null; readonly lines: JsonReply["body"][] }> {
  const response = await fetch(`${service.url}/predict/batch`, { method: "POST", body: data });
  expect(response.status).toBe(200);
  const text = await response.text();
  expect(text.endsWith("\n")).toBe(true);
  return {
    type: response.headers.get("content-type"),
    lines: text
      .trimEnd()
      .split("\n")
      .map((line): JsonReply["body"] => JSON.parse(line)),
  };
}

describe("POST /predict/batch", () => {
  it("answers one line for each file, in their order, equal to what /predict says", async () => {
    const pictures = await Promise.all(Array.from({ length: 20 }, async (_, i) => await colourPicture(i % 3 ? "red" : "blue", i)));
    const { type, lines } = await postBatch(form(...pictures.map((picture, i) => ["file", picture, `${i}.jpg`] as const)));
    expect(type).toBe("application/x-ndjson");
    expect(lines.map(({ index, filename }) => [index as number, filename as string])).toEqual(pictures.map((_, i) => [i, `${i}.jpg`]));
    for (const [i, { result }] of lines.entries()) {
      expect(result.label).toBe(i % 3 ? "red" : "blue");
      expect(result.probabilities).toEqual((await predictForm(service, pictures[i]!)).body.probabilities);
    }
    expect(new Set(lines.map(({ result }) => result.request_id as string)).size).toBe(20);
  });

  it("has the error of a file that cannot be used in its place, and the answers of the others", async () => {
    const red = await colourPicture("red");
    const { lines } = await postBatch(
      form(["file", red, "a.jpg"], ["file", Buffer.from("no image"), "b.txt"], ["file", Buffer.alloc(17_000_000, red)], ["file", red]),
    );
    expect(lines.map(({ result, error }) => (result?.label ?? error.code) as string)).toEqual([
      "red",
      "E_IMAGE_FORMAT",
      "E_IMAGE_BYTES",
      "red",
    ]);
    expect(lines[1]).toMatchObject({
      index: 1,
      filename: "b.txt",
      error: { message: expect.stringContaining("6e 6f 20 69"), hint: expect.any(String) },
    });
  });

  it("refuses a request without files as a whole", async () => {
    const red = await colourPicture("red");
    for (const [data, code] of [
      [form(["comment", "hello"]), "E_UPLOAD_FIELD"],
      [form(["images", red]), "E_UPLOAD_FIELD"],
    ] as const) {
      const { status, body } = await readReply(await fetch(`${service.url}/predict/batch`, { method: "POST", body: data }));
      expect([status, body.error.code]).toEqual([400, code]);
    }
    const single = await readReply(
      await fetch(`${service.url}/predict/batch`, { method: "POST", body: new Uint8Array(red), headers: { "content-type": "image/jpeg" } }),
    );
    expect([single.status, single.body.error.code]).toEqual([415, "E_MEDIA_TYPE"]);
    expect((await predictBody(service, red, "image/jpeg")).status).toBe(200);
  });

  it("says in its last line that the form broke off, after the answers to what had arrived", async () => {
    const head = (name: string): string => `--x\r\ncontent-disposition: form-data; name="file"; filename="${name}"\r\n\r\n`;
    const red = await colourPicture("red");
    const body = Buffer.concat([Buffer.from(head("a.jpg")), red, Buffer.from(`\r\n${head("b.jpg")}`), red.subarray(0, 300)]);
    const response = await fetch(`${service.url}/predict/batch`, {
      method: "POST",
      body,
      headers: { "content-type": "multipart/form-data; boundary=x" },
    });
    const lines = (await response.text())
      .trimEnd()
      .split("\n")
      .map((line): JsonReply["body"] => JSON.parse(line));
    expect(lines[0]).toMatchObject({ index: 0, filename: "a.jpg", result: { label: "red" } });
    expect(lines.at(-1)).toMatchObject({ index: null, error: { code: "E_UPLOAD_BROKEN" } });
  });
});
