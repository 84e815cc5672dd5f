import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeManifest, parseManifest } from "../../../src/model/manifest.ts";
import {
  encodeSafetensors,
  float16Safetensor,
  float32Safetensor,
  parseSafetensors,
  safetensorNumbers,
} from "../../../src/model/safetensors.ts";
import { mutateBytes, mutateText } from "../mutate.ts";
import { expectRefusal, expectThat, type FuzzTarget } from "../target.ts";

const words = [
  "{",
  "}",
  "[",
  "]",
  ":",
  ",",
  '"',
  "null",
  "true",
  "-1",
  "0",
  "1e999",
  "4294967296",
  "9007199254740993",
  "0.5",
  '"__proto__"',
  '"constructor"',
  '"F32"',
  '"F16"',
  '"I64"',
  '"BOOL"',
  '"dtype"',
  '"shape"',
  '"data_offsets"',
  '"__metadata__"',
  '"files"',
  '"../x"',
  '"labels"',
  '"checks"',
  '"crop"',
  "\\u0000",
];

/** Weights (safetensors) and bundle.json. What is accepted is encoded and read again to the same. */
export async function openModel(): Promise<FuzzTarget> {
  const manifest = await readFile(join(import.meta.dirname, "../../../models/cats-dogs/bundle.json"));
  const tensors = { a: float32Safetensor([2, 3], new Float32Array(6)), b: float16Safetensor([4], new Float32Array(4)) };
  const weights = encodeSafetensors(tensors, { format: "pt" });
  const text = mutateText(words);
  return {
    seeds: [manifest, weights, encodeSafetensors({}), encodeSafetensors({ empty: float32Safetensor([0], new Float32Array()) })],
    guided: true,
    mutate: (input, random, corpus) => {
      const isWeights = input.length >= 8 && input[7] === 0 && input[0] !== 0x7b;
      if (!isWeights || random.below(3) === 0)
        return random.below(3) === 0 ? mutateBytes(input, random, corpus) : text(input, random, corpus);
      // The header as text, under its right length.
      const length = Math.min(input.length - 8, Buffer.from(input).readUInt32LE(0));
      const header = text(input.subarray(8, 8 + length), random, corpus);
      const size = Buffer.alloc(8);
      size.writeUInt32LE(header.length);
      return Buffer.concat([size, header, input.subarray(8 + length)]);
    },
    run: (input) => {
      try {
        const { tensors: read, metadata } = parseSafetensors(input);
        const again = parseSafetensors(encodeSafetensors(read, metadata));
        expectThat(JSON.stringify(Object.keys(again.tensors).sort()) === JSON.stringify(Object.keys(read).sort()), "tensors get lost");
        for (const [name, tensor] of Object.entries(read)) if (["F32", "F16"].includes(tensor.dtype)) safetensorNumbers(name, tensor);
      } catch (error) {
        expectRefusal(error, ["E_SAFETENSORS"]);
      }
      try {
        const read = parseManifest(Buffer.from(input).toString("utf8"), "bundle.json");
        const once = encodeManifest(read);
        expectThat(encodeManifest(parseManifest(once, "bundle.json")) === once, "a bundle.json that is written again is another one");
      } catch (error) {
        expectRefusal(error, ["E_BUNDLE_CORRUPT"]);
      }
      return Promise.resolve();
    },
  };
}
