import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { preprocessImage } from "../../src/image/preprocess-image.ts";
import { colourPicture, type Colour } from "../helpers/tiny-bundle.ts";
import { predictForm, startTestService, type TestService } from "../helpers/service.ts";
import { python } from "./python.ts";

const colours: readonly Colour[] = ["red", "blue", "red"];
let service: TestService;
let theirs: Record<string, unknown>;
let probabilities: Record<string, number>[];

beforeAll(async () => {
  service = await startTestService();
  const pictures = await Promise.all(colours.map(async (colour, i) => await colourPicture(colour, i)));
  const { preprocess } = service.bundle.manifest;
  const limits = { maxBytes: 1e7, maxPixels: 1e7 };
  const pixels = await Promise.all(pictures.map(async (picture) => await preprocessImage(picture, preprocess, limits)));
  probabilities = [];
  for (const picture of pictures) probabilities.push((await predictForm(service, picture)).body.probabilities as Record<string, number>);
  const file = join(service.root, "images.bin");
  await writeFile(file, Buffer.concat(pixels));
  const args = [join(import.meta.dirname, "triton_peer.py"), `127.0.0.1:${service.port}`, "colours", file, "3", "12", "16"];
  const { stdout } = await promisify(execFile)(python, args);
  theirs = JSON.parse(stdout) as Record<string, unknown>;
});
afterAll(async () => await service.close());

test("Triton's client finds the server alive, its model ready, and another model not", () => {
  expect([theirs["live"], theirs["ready"], theirs["model_ready"], theirs["other_ready"]]).toEqual([true, true, true, false]);
  expect(theirs["server"]).toMatchObject({ name: "serval", extensions: ["binary_tensor_data"] });
  expect(theirs["metadata"]).toEqual({
    name: "colours",
    versions: [service.model.version],
    platform: "onnxruntime_onnx",
    inputs: [{ name: "images", datatype: "UINT8", shape: [-1, 12, 16, 3] }],
    outputs: [
      { name: "logits", datatype: "FP32", shape: [-1, 2] },
      { name: "probabilities", datatype: "FP32", shape: [-1, 2] },
      { name: "features", datatype: "FP32", shape: [-1, 2, -1, -1] },
    ],
  });
});

test("it gets for the pixels what /predict answers for the pictures, as JSON and as bytes", () => {
  expect(theirs["answer"]).toEqual({ id: "seven", model_name: "colours", model_version: service.model.version });
  const rows = theirs["probabilities"] as number[][];
  for (const [i, expected] of probabilities.entries()) {
    for (const [k, label] of ["blue", "red"].entries()) expect(rows[i]![k]).toBeCloseTo(expected[label]!, 6);
  }
  expect(theirs["features_shape"]).toEqual([3, 2, 12, 16]);
  expect(theirs["binary_is_equal"]).toBe(true);
});

test("it understands our errors", () => {
  expect(theirs["wrong_shape"]).toMatch(/^400 E_TENSOR: inputs\.0\.shape: expected \[1 to 64, 12, 16, 3\], got \[1,2,2,3\]\./);
  expect(theirs["wrong_model"]).toMatch(/^404 E_MODEL_UNKNOWN: other is not served; colours/);
});
