import fc from "fast-check";
import { readFileSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ServalError } from "../../src/errors/serval-error.ts";
import { sha256 } from "../../src/files.ts";
import { checkModel } from "../../src/onnx/check-model.ts";
import { ProtobufWriter } from "../../src/onnx/protobuf.ts";
import { startInference } from "../../src/runtime/inference.ts";
import { runServal } from "../helpers/serval-process.ts";
import { colourPicture, tinyModel, writeTinyBundle } from "../helpers/tiny-bundle.ts";

type Write = (out: ProtobufWriter) => unknown;

/** A file with one graph of what `graph` writes, and `more` fields of the model. */
function onnx(graph: Write, more: Write = () => undefined): Uint8Array {
  const out = new ProtobufWriter().int(1, 8);
  more(out);
  out.message(7, graph);
  return out.message(8, (opset) => opset.int(2, 17)).finish();
}

/** A tensor of float32 [2] with what `more` writes in place of its content. */
const tensor =
  (more: Write): Write =>
  (out) => {
    out.int(1, 2).int(2, 1).string(8, "w");
    more(out);
  };
const content = (out: ProtobufWriter): ProtobufWriter => out.bytes(9, new Uint8Array(8));
const location: Write = (out) => out.string(1, "location").string(2, "secret.bin");
const external = tensor((out) => out.message(13, location).int(14, 1));

const node =
  (op: string, more: Write = () => undefined, domain = ""): Write =>
  (out) => {
    out.string(2, "y").string(3, "n").string(4, op).string(7, domain);
    more(out);
  };
const attribute =
  (field: number, value: Write): Write =>
  (out) =>
    out.message(5, (inner) => inner.string(1, "value").message(field, value));
/** `depth` graphs inside each other, around what `inside` writes. */
function nested(depth: number, inside: Write): Write {
  if (depth === 0) return inside;
  return (out) => out.message(1, node("If", attribute(6, nested(depth - 1, inside))));
}

const elsewhere = /the tensor "w" lies in another file/;
const sparse = /it has a sparse tensor/;
const bigTag = Uint8Array.of(0x80 | 0x6a, 0x80, 0x80, 0x80, 0x10, 2, 0, 0);
const attacks: readonly (readonly [name: string, model: Uint8Array, message: RegExp])[] = [
  ["weights in another file", onnx((graph) => graph.message(5, external)), elsewhere],
  [
    "weights in another file, without a name of one",
    onnx((graph) =>
      graph.message(
        5,
        tensor((out) => out.int(14, 1)),
      ),
    ),
    elsewhere,
  ],
  [
    "the name of another file beside its weights",
    onnx((graph) =>
      graph.message(
        5,
        tensor((out) => void content(out).message(13, location)),
      ),
    ),
    elsewhere,
  ],
  ["a constant in another file", onnx((graph) => graph.message(1, node("Constant", attribute(5, external)))), elsewhere],
  ["one of many constants in another file", onnx((graph) => graph.message(1, node("Constant", attribute(10, external)))), elsewhere],
  ["weights of a graph inside a node in another file", onnx(nested(2, (graph) => graph.message(5, external))), elsewhere],
  [
    "weights of one of many graphs in another file",
    onnx((graph) =>
      graph.message(
        1,
        node(
          "If",
          attribute(11, (inner) => inner.message(5, external)),
        ),
      ),
    ),
    elsewhere,
  ],
  [
    "a custom function",
    onnx(
      () => undefined,
      (model) => model.message(25, (out) => out.string(1, "f").message(7, node("Constant", attribute(5, external)))),
    ),
    /it has custom functions/,
  ],
  [
    "a graph for training",
    onnx(
      () => undefined,
      (model) => model.message(20, (out) => out.message(1, (graph) => graph.message(5, external))),
    ),
    /it holds graphs for training/,
  ],
  [
    "settings for the engine",
    onnx(
      () => undefined,
      (model) => model.message(14, (out) => out.string(1, "ort_config").string(2, "{}")),
    ),
    /settings for the engine/,
  ],
  [
    "a custom operator",
    onnx((graph) =>
      graph.message(
        1,
        node("Shell", () => undefined, "evil.ops"),
      ),
    ),
    /the node "n" \(Shell\) is an operator of "evil\.ops"/,
  ],
  [
    "an operator of a domain that looks like Microsoft's",
    onnx((graph) =>
      graph.message(
        1,
        node("Gelu", () => undefined, "com.microsoftx"),
      ),
    ),
    /"com\.microsoftx"/,
  ],
  [
    "a custom operator inside a graph",
    onnx(
      nested(1, (graph) =>
        graph.message(
          1,
          node("Shell", () => undefined, "evil.ops"),
        ),
      ),
    ),
    /evil\.ops/,
  ],
  [
    "a program for another processor",
    onnx((graph) =>
      graph.message(
        1,
        node("EPContext", () => undefined, "com.microsoft"),
      ),
    ),
    /names a program outside/,
  ],
  ["a sparse tensor", onnx((graph) => graph.message(15, (out) => out.message(1, tensor(content)).int(3, 1e12))), sparse],
  [
    "a sparse constant",
    onnx((graph) =>
      graph.message(
        1,
        node(
          "Constant",
          attribute(22, (out) => out.int(3, 1e12)),
        ),
      ),
    ),
    sparse,
  ],
  [
    "a tensor larger than the file",
    onnx((graph) => graph.message(5, (out) => content(out.int(1, 1e12).int(2, 1).string(8, "w")))),
    /"w" of 1000000000000 elements would have 4000000000000 bytes, and the file has 8/,
  ],
  [
    "a tensor without its content",
    onnx((graph) =>
      graph.message(
        5,
        tensor(() => undefined),
      ),
    ),
    /"w" of 2 elements has 0 bytes/,
  ],
  [
    "a tensor with fewer numbers than it claims",
    onnx((graph) => graph.message(5, (out) => out.int(1, 1e6).int(2, 1).string(8, "w").bytes(4, new Uint8Array(8)))),
    /of 1000000 elements has 8 bytes/,
  ],
  ["a tensor of a negative size", onnx((graph) => graph.message(5, (out) => content(out.int(1, -1).int(2, 1)))), /of NaN elements/],
  [
    "a tensor with two contents",
    onnx((graph) =>
      graph.message(
        5,
        tensor((out) => void content(content(out))),
      ),
    ),
    /two contents/,
  ],
  [
    "a tensor of 65 dimensions",
    onnx((graph) => graph.message(5, (out) => out.bytes(1, new Uint8Array(65).fill(1)))),
    /more than 64 numbers/,
  ],
  ["graphs five deep inside each other", onnx(nested(5, () => undefined)), /more than 4 deep/],
  [
    "a thousand graphs",
    onnx((graph) => {
      for (let i = 0; i < 1000; i++) nested(1, () => undefined)(graph);
    }),
    /more than 100 graphs/,
  ],
  [
    "50,001 nodes",
    onnx((graph) => {
      for (let i = 0; i < 50_001; i++) graph.bytes(1, new Uint8Array());
    }),
    /more than 50000 nodes/,
  ],
  [
    "two graphs",
    onnx(
      () => undefined,
      (model) => model.message(7, () => undefined),
    ),
    /holds 2 graphs/,
  ],
  ["no graph", new ProtobufWriter().int(1, 8).finish(), /holds 0 graphs/],
  ["nothing", new Uint8Array(), /holds 0 graphs/],
  ["ONNX Runtime's own format", Uint8Array.of(10, 6, 0, 0, ...new TextEncoder().encode("ORTM")), /ONNX Runtime's own format/],
  ["a field that is longer than the file", Uint8Array.of(0x3a, 0xff, 0xff, 0x03, 0), /claims 65535 bytes, where 1 are left/],
  ["a group", Uint8Array.of(0x3b, 0x3c), /field 7 is not a message/],
  ["a number without an end", Uint8Array.of(8, ...new Uint8Array(20).fill(255)), /a number has no end/],
];

const refused = (message: RegExp): unknown =>
  expect.objectContaining({ code: expect.stringMatching(/^E_(MODEL_UNSAFE|ENGINE_MODEL)$/), message: expect.stringMatching(message) });

describe("an ONNX file", () => {
  test.each(attacks)("with %s is refused before the engine sees it", (_, model, message) => {
    expect(() => checkModel(model)).toThrow(refused(message));
  });

  test("with a tag of which readers use only a part is refused, because it can hide a name of a file", () => {
    const hidden = new Uint8Array([8, 2, 16, 1, ...bigTag]);
    expect(() => checkModel(onnx((graph) => graph.bytes(5, hidden)))).toThrow(refused(/a field of number/));
  });

  test("with Microsoft's operators, a nested graph and content in its place is accepted", () => {
    const model = onnx((graph) => {
      graph.message(
        5,
        tensor((out) => content(out.int(14, 0))),
      );
      graph.message(
        1,
        node("FusedConv", () => undefined, "com.microsoft"),
      );
      graph.message(
        1,
        node("ReorderInput", () => undefined, "com.microsoft.nchwc"),
      );
      nested(4, (inner) => inner.message(1, node("Constant", attribute(5, tensor(content)))))(graph);
    });
    for (const accepted of [model, tinyModel()]) expect(() => checkModel(accepted)).not.toThrow();
  });

  test("of the released model is checked in a few milliseconds", () => {
    const model = readFileSync(join(import.meta.dirname, "../../models/cats-dogs/model.onnx"));
    checkModel(model);
    const before = process.cpuUsage();
    for (let i = 0; i < 10; i++) checkModel(model);
    expect(process.cpuUsage(before).user / 10_000).toBeLessThan(10);
  });

  test("with any bytes changed is accepted or refused, and nothing else happens", () => {
    const model = tinyModel();
    const change = fc.record({ at: fc.nat(model.length - 1), bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }) });
    const outcome = (changes: readonly { at: number; bytes: Uint8Array }[]): string => {
      const changed = Uint8Array.from(model);
      for (const { at, bytes } of changes) changed.set(bytes.subarray(0, model.length - at), at);
      try {
        checkModel(changed);
        return "accepted";
      } catch (error) {
        return error instanceof ServalError ? error.code : String(error);
      }
    };
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        expect(["accepted", "E_MODEL_UNSAFE", "E_ENGINE_MODEL"]).toContain(outcome(changes));
      }),
      { numRuns: 5000 },
    );
  });
});

describe("a bundle whose model reads another file", () => {
  let cwd: string;
  beforeAll(async () => {
    cwd = await mkdtemp(join(tmpdir(), "serval-models-"));
    const { dir } = await writeTinyBundle(join(cwd, "models/colours"));
    const model = onnx((graph) => graph.message(5, external));
    await writeFile(join(dir, "model.onnx"), model);
    const manifest = JSON.parse(await readFile(join(dir, "bundle.json"), "utf8")) as { files: Record<string, string> };
    manifest.files["model.onnx"] = sha256(model);
    await writeFile(join(dir, "bundle.json"), JSON.stringify(manifest));
    await writeFile(join(cwd, "secret.bin"), "a secret");
    await writeFile(join(cwd, "red.jpg"), await colourPicture("red"));
    await cp(join(dir, "checks"), join(cwd, "pictures/red"), { recursive: true });
  });
  afterAll(async () => await rm(cwd, { recursive: true }));

  test.each([
    ["predict", "red.jpg"],
    ["serve", "--port", "0"],
    ["export", "--format", "onnx", "--model", "models/colours"],
    ["evaluate", "--model", "models/colours", "--data", "pictures"],
  ])("is refused by serval %s", async (...args) => {
    const { code, stderr } = await runServal(cwd, args);
    expect([code, stderr]).toEqual([
      3,
      expect.stringContaining('E_MODEL_UNSAFE: The ONNX model was not loaded: the tensor "w" lies in another file.'),
    ]);
  });

  test("is refused by a program that uses Serval", async () => {
    const model = await readFile(join(cwd, "models/colours/model.onnx"));
    await expect(startInference(model, { imageShape: [2, 2] })).rejects.toEqual(refused(elsewhere));
  });
});
