/** Draws test_image.jpg at the root of the repository again: `node scripts/draw-test-image.ts`. */
import { join } from "node:path";
import { drawSampleImage } from "../src/data/sources/sample.ts";
import { writeFileAtomic } from "../src/files.ts";

// Beyond the pictures that the sample holds, so that no model was trained on it; one of those that the released model,
// which only ever saw photographs, takes for a cat (it does so with about half of these drawings).
const index = 1003;

await writeFileAtomic(join(import.meta.dirname, "..", "test_image.jpg"), await drawSampleImage("cat", index));
