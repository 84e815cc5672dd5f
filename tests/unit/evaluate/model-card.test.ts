import { describe, expect, it } from "vitest";
import { computeMetrics } from "../../../src/evaluate/metrics.ts";
import { addToCard, buildModelCard, type ModelCardInput } from "../../../src/export/model-card.ts";

const input: ModelCardInput = {
  name: "insects",
  labels: ["ant", "bee"],
  images: { train: [400, 80], val: [2, 2], test: [50, 10] },
  dataVersion: "ab".repeat(32),
  preprocess: { orient: true, width: 112, height: 110, fit: "squash", kernel: "lanczos3", crop: { width: 96, height: 95 } },
  architecture: { name: "cnn4", parameterCount: 389_410 },
  parameters: { epochs: 12, channels: [32, 64], optimizer: "sgd" },
  epoch: { chosen: 11, trained: 12 },
  metrics: computeMetrics(["ant", "bee"], [0, 0, 1, 1], Float32Array.of(0.9, 0.1, 0.8, 0.2, 0.3, 0.7, 0.6, 0.4)),
  answered: { abstainBelow: 0.87654321, share: 0.5, accuracy: 1 },
  seed: 42,
};

describe("buildModelCard", () => {
  const card = buildModelCard(input);

  it("says what the model is, how good, from which data and how to use it", () => {
    expect(card).toContain("# insects\n");
    expect(card).toContain("one of 2 labels: `ant` and `bee`");
    expect(card).toContain("accuracy is **75.00 %** (95 % interval 30.06 % to 95.44 %, 4 images)");
    expect(card).toContain("| bee | 2 | 1.0000 | 0.5000 | 0.6667 | 1.0000 |");
    expect(card).toContain(`Data version \`${"ab".repeat(32)}\``);
    expect(card).toContain("| ant | 400 | 2 | 50 |");
    expect(card).toContain("| all | 480 | 4 | 60 |");
    expect(card).toContain("Network `cnn4`, 389,410 parameters, weights of epoch 11 of 12, seed 42.");
    expect(card).toContain("| `channels` | [32,64] |");
    expect(card).toContain("Below a confidence of 0.8765");
    expect(card).toContain("Answered above it: 50.00 % of these images, of which 100.00 % correctly, in place of 75.00 % of all.");
    expect(card).toContain("| shows, down; answered, across | ant | bee |\n|---|---:|---:|\n| ant | 2 | 0 |\n| bee | 1 | 1 |\n");
    expect(card).toMatch(/\| expected calibration error, 15 bins \| 30\.00 % \| \d+\.\d\d % to \d+\.\d\d % \|/);
    expect(card).toContain("curl -F file=@picture.jpg localhost:8000/predict");
  });

  it("describes the input in the exact numbers of the preprocessing", () => {
    expect(card).toContain("stretched to 112x110 pixels (lanczos3) and cut to the middle 96x95");
    expect(card).toContain("uint8 [N, 95, 96, 3]");
    expect(card).toContain("image = image.resize((112, 110), Image.LANCZOS)\nimage = image.crop((8, 7, 104, 102))");
  });

  it("names the limits that the figures show", () => {
    expect(card).toContain("Weakest on `bee`: it finds 50.00 % of those validation images.");
    expect(card).toContain("The classes are unequal: 80 to 400 training images.");
    expect(buildModelCard({ ...input, images: { ...input.images, train: [400, 12] } })).toContain(
      "Few training images (under 50) of `bee`",
    );
  });

  it("depends on nothing but its input", () => {
    expect(buildModelCard(input)).toBe(card);
    expect(card).not.toMatch(/20\d\d-\d\d|localhost:\d+\/\//);
  });

  it("says by what a threshold was chosen, and of a model without one how many images it would take", () => {
    expect(card).toContain(
      "It is the lowest confidence above which at least 99 % of the answers are right, by the lower end of the 95 % interval.",
    );
    const without = buildModelCard({ ...input, answered: undefined });
    expect(without).not.toContain("Below a confidence");
    expect(without).toContain(
      "> **Caution.** There is no confidence below which it abstains: these 4 images cannot show that 99 % of its answers above one are right " +
        "(by the lower end of the 95 % interval). That takes at least 381 validation images that it answers, none of them wrong. " +
        "Until then it answers every picture, also with `SERVAL_ABSTAIN=true`.",
    );
    const sure = buildModelCard({ ...input, answered: { abstainBelow: 0, share: 1, accuracy: 1 } });
    expect(sure).toContain(
      "It needs no confidence below which it abstains: at least 99 % of all its answers are right, by the lower end of the 95 % interval.",
    );
    // The test split has no say in it: its section has the figures alone.
    const added = addToCard(card, { test: { labels: input.labels, metrics: input.metrics, answered: input.answered } });
    const [, testPart = ""] = added.split(/^## (?=Figures)/m);
    expect(testPart).toContain("Below a confidence of 0.8765");
    expect(testPart).not.toContain("the lowest confidence");
  });

  it("puts a notice first", () => {
    expect(buildModelCard({ ...input, notice: "Trained on drawings." })).toMatch(/^# insects\n\n> \*\*Trained on drawings\.\*\*\n/);
  });

  it("keeps labels of any text inside their table cells", () => {
    const odd = buildModelCard({
      ...input,
      labels: ["a|b", "<c>`d`"],
      metrics: computeMetrics(["a|b", "<c>`d`"], [0, 1], Float32Array.of(1, 0, 0, 1)),
    });
    expect(odd).toContain("| a\\|b | 1 |");
    expect(odd).toContain("| &lt;c> d  | 1 |");
  });

  it.each([
    ["crop", "ImageOps.fit(image, (112, 110), Image.LANCZOS)"],
    ["pad", 'ImageOps.pad(image, (112, 110), Image.LANCZOS, color="#000000")'],
  ] as const)("shows the same steps in Python for %s", (fit, step) => {
    const text = buildModelCard({ ...input, preprocess: { ...input.preprocess, fit, orient: false, crop: null } });
    expect(text).toContain(step);
    expect(text).not.toContain("exif_transpose");
    expect(text).toContain("uint8 [N, 110, 112, 3]");
  });
});

describe("addToCard", () => {
  const card = buildModelCard(input);
  const metrics = computeMetrics(["ant", "bee"], [0, 1], Float32Array.of(0.9, 0.1, 0.2, 0.8));
  const test = { labels: ["ant", "bee"], metrics, answered: undefined };
  const section = (text: string, heading: string): string => text.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";

  it("puts the test split's figures where the card says that they are missing, and nothing else", () => {
    expect(section(card, "Figures on the test split")).toContain("Not measured yet.");
    const added = addToCard(card, { test });
    expect(section(added, "Figures on the test split")).toContain("| accuracy (2 images) | 100.00 % | 34.24 % to 100.00 % |");
    expect(section(added, "Figures on the test split")).not.toContain("Not measured yet.");
    const rest = (text: string): string => text.replace(section(text, "Figures on the test split"), "");
    expect(rest(added)).toBe(rest(card));
  });

  it("puts what a person saw before the limits, with headings that do not end it, and replaces it the next time", () => {
    const first = addToCard(card, { knownFailures: "# Ants\n\nRed ones, $& and $1.\n" });
    expect(section(first, "Known failures")).toBe("\n### Ants\n\nRed ones, $& and $1.\n");
    expect(first.indexOf("## Known failures")).toBeLessThan(first.indexOf("## Limits"));
    const second = addToCard(first, { knownFailures: "Bees." });
    expect(section(second, "Known failures")).toBe("\nBees.\n");
    expect(second).not.toContain("Ants");
  });
});
