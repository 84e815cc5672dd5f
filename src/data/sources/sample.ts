import { Readable } from "node:stream";
import { drawAnimal, type Species } from "./drawing/animal.ts";
import { photograph } from "./drawing/camera.ts";
import { createRandom } from "./drawing/random.ts";
import type { Source, SourceEntry } from "./source.ts";

/** Goes up whenever the drawings change, so that an import draws them again. */
const sampleVersion = 2;

const species: readonly Species[] = ["cat", "dog"];

export interface SampleOptions {
  readonly seed?: number;
  readonly perClass?: number;
}

/**
 * The built-in sample: drawings of cats and dogs, made by code. It lets every command be tried within a minute and
 * without a download; accuracy on it says nothing about photographs.
 */
export function openSample(options: SampleOptions = {}): Source {
  const { seed = 42, perClass = 360 } = options;
  return {
    id: `sample:${seed}`,
    title: "the drawn sample",
    count: species.length * perClass,
    tree: [],
    remarks: [],
    async *entries(): AsyncGenerator<SourceEntry> {
      for (const label of species) {
        for (let i = 0; i < perClass; i++) {
          const name = `${label}/${label}-${String(i).padStart(4, "0")}.jpg`;
          yield {
            name,
            label,
            path: name,
            version: `drawing-${sampleVersion}`,
            sizeBytes: undefined,
            open: async () => Readable.from([Buffer.from(await drawSampleImage(label, i, seed))]),
          };
        }
      }
    },
    close: async () => {},
  };
}

/** Picture `index` of a class of the sample, as a JPEG file. The same arguments give the same bytes. */
export async function drawSampleImage(label: Species, index: number, seed = 42): Promise<Uint8Array> {
  const random = createRandom(`sample:${seed}:${label}:${index}`);
  return photograph(drawAnimal(label, random), random);
}
