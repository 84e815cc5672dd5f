import { padBackground, type Kernel, type Preprocess } from "../image/preprocess.ts";
import { abstainTarget, fewestAnswers } from "../evaluate/abstain.ts";
import { findCautions } from "../evaluate/cautions.ts";
import type { AnsweredPart, Metrics } from "../evaluate/metrics.ts";
import { percent, thousands } from "../text.ts";

export interface ModelCardInput {
  readonly name: string;
  readonly labels: readonly string[];
  /** Images by label, in the order of the labels. */
  readonly images: Readonly<Record<"train" | "val" | "test", readonly number[]>>;
  readonly dataVersion: string;
  readonly preprocess: Preprocess;
  /** Name and size of the network. */
  readonly architecture: { readonly name: string; readonly parameterCount: number };
  /** Training parameters as they are in params.yaml, by key. */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Epoch whose weights these are, of how many. */
  readonly epoch: { readonly chosen: number; readonly trained: number };
  /** On the validation split. */
  readonly metrics: Metrics;
  /** What abstaining below the bundle's threshold does there; undefined where there is no threshold. */
  readonly answered: AnsweredPart | undefined;
  readonly seed: number;
  /** The model that the weights came from, where they did not begin at random. */
  readonly init?: { readonly name: string; readonly digest: string; readonly keepsHead: boolean };
  /** Whether the features are one row of numbers for a picture, not maps of its places. */
  readonly vectorFeatures?: boolean;
  /** The pretrained network inside, where there is one. */
  readonly backbone?: { readonly name: string; readonly digest: string; readonly strategy: "head" | "finetune" };
  /** With a fine-tuned backbone: the share of the weights that is fine-tuned, from 0; the rest is as before fine-tuning. */
  readonly fineTunedShare?: number | undefined;
  /** Says what the images really are, where they are not photographs (a drawn sample): it comes first. */
  readonly notice?: string;
}

/** A class this small says little about its own precision and recall. */
const fewImages = 50;

/** More classes than this make a confusion matrix that is too large to read as a table. */
const mostConfusionLabels = 10;

const testHeading = "## Figures on the test split";
const notesHeading = "## Known failures";

/** README.md of a bundle, a pure function of its input: no date, host or run. */
export function buildModelCard(input: ModelCardInput): string {
  const { name, labels, metrics, notice } = input;
  const sections = [
    `# ${plain(name)}`,
    ...(notice === undefined ? [] : [`> **${plain(notice)}**`]),
    `An image classifier that gives a picture one of ${labels.length} labels: ${listing(labels.map(code))}. Trained with Serval. On the ` +
      `validation split its accuracy is **${exact(metrics.accuracy)}** (95 % interval ${exact(metrics.accuracyInterval[0])} to ` +
      `${exact(metrics.accuracyInterval[1])}, ${thousands(metrics.count)} images).`,
    ...cautionText(input),
    "## Intended use",
    `Telling ${listing(labels.map(code))} apart in pictures like those it was trained on, with one of them as the main subject. It ` +
      `answers with one of its labels whatever the picture shows: it has no label for "none of these". Not for decisions about people, ` +
      `or wherever a wrong answer does harm and no person checks it.`,
    testHeading,
    "Not measured yet. `serval evaluate` does, and `serval models release` writes them here.",
    "## Figures on the validation split",
    input.backbone?.strategy !== "head"
      ? "The validation split chose the epoch, so these figures are a little better than new pictures will give."
      : "The validation split chose the confidence below, and how far probabilities are softened; it had no part in the classifier.",
    ...figures(labels, metrics, input.answered),
    thresholdText(metrics, input.answered),
    "## Data",
    `Data version \`${plain(input.dataVersion)}\` (SHA-256 of the manifest that lists every image).`,
    dataTable(input),
    "## Input",
    preprocessText(input.preprocess, input.vectorFeatures ?? false),
    "## Training",
    describeNetwork(input),
    ...(input.init === undefined
      ? []
      : [
          `Fine-tuned: the backbone began with the weights of the model ${code(input.init.name)}, version ${code(input.init.digest.slice(0, 12))}` +
            `${input.init.keepsHead ? ", and so did the classifier" : ", the classifier at random"}.`,
        ]),
    parameterTable(input.parameters),
    "## Limits",
    limits(input).join("\n"),
    "## How to use it",
    usage(input),
    "## Files",
    [
      "| file | what |",
      "|---|---|",
      "| `model.onnx` | the network with scaling, normalisation and softmax inside |",
      "| `bundle.json` | labels, preprocessing, figures, reference statistics for drift, SHA-256 of every file |",
      "| `weights.safetensors` | the weights alone, for other frameworks |",
      "| `checks/` | drawn pictures with known answers, by which a service proves that it gives the same |",
    ].join("\n"),
  ];
  return `${sections.join("\n\n")}\n`;
}

function describeNetwork({ architecture, backbone, epoch, seed, fineTunedShare = 1 }: ModelCardInput): string {
  const network = `Network \`${plain(architecture.name)}\`, ${thousands(architecture.parameterCount)} parameters`;
  if (backbone === undefined) return `${network}, weights of epoch ${epoch.chosen} of ${epoch.trained}, seed ${seed}.`;
  const pretrained = `${network}. Its backbone is ${code(backbone.name)} (SHA-256 \`${backbone.digest.slice(0, 12)}…\`), pretrained`;
  const head = "was fitted on its features, with a penalty chosen by cross-validation inside the training split";
  if (backbone.strategy === "head") return `${pretrained} and unchanged; a linear classifier ${head}. Seed ${seed}.`;
  const averaged =
    fineTunedShare === 1
      ? `The weights are those of epoch ${epoch.chosen} of ${epoch.trained}.`
      : `The weights are ${percent(fineTunedShare, 0)} those of epoch ${epoch.chosen} of ${epoch.trained}, averaged with those before fine-tuning.`;
  return `${pretrained}. A linear classifier ${head}; then all layers were fine-tuned. ${averaged} Seed ${seed}.`;
}

/** Above everything else, where the figures are not to be believed as they are. */
function cautionText({ metrics, epoch }: ModelCardInput): string[] {
  const cautions = findCautions({ split: "validation", metrics, epoch });
  return cautions.map(({ text, next }) => `> **Caution.** ${plain(text)} ${plain(next)}`);
}

/** What a released model's card has besides: how it did on the test split, and what a person saw. */
export interface CardAdditions {
  readonly test?: { readonly labels: readonly string[]; readonly metrics: Metrics; readonly answered: AnsweredPart | undefined };
  /** Markdown. */
  readonly knownFailures?: string;
}

/** Puts them into a card that `buildModelCard` wrote, in place of what an earlier release put there. */
export function addToCard(card: string, { test, knownFailures }: CardAdditions): string {
  let result = card;
  if (test) {
    const text = ["The test split had no part in making the model.", ...figures(test.labels, test.metrics, test.answered)];
    result = replaceSection(result, testHeading, text.join("\n\n"));
  }
  if (knownFailures !== undefined) {
    // Its own headings would end the section.
    const text = knownFailures.trim().replaceAll(/^#+ /gm, "### ");
    result = result.includes(`\n${notesHeading}\n`)
      ? replaceSection(result, notesHeading, text)
      : result.replace("\n## Limits\n", () => `\n${notesHeading}\n\n${text}\n\n## Limits\n`);
  }
  return result;
}

function replaceSection(card: string, heading: string, text: string): string {
  const start = card.indexOf(`\n${heading}\n`);
  if (start < 0) return card;
  const body = start + heading.length + 2;
  const next = card.indexOf("\n## ", body);
  return `${card.slice(0, body)}\n${text}\n${next < 0 ? "" : card.slice(next)}`;
}

function figures(labels: readonly string[], metrics: Metrics, answered: AnsweredPart | undefined): string[] {
  return [
    metricsTable(metrics),
    perClassTable(metrics),
    ...(labels.length > mostConfusionLabels ? [] : [confusionTable(labels, metrics.confusion)]),
    ...abstainText(metrics, answered),
  ];
}

function metricsTable(metrics: Metrics): string {
  return [
    "| figure | value | 95 % interval |",
    "|---|---:|---:|",
    `| accuracy (${thousands(metrics.count)} images) | ${exact(metrics.accuracy)} | ${interval(metrics.accuracyInterval)} |`,
    `| expected calibration error, 15 bins | ${exact(metrics.ece)} | ${interval(metrics.eceInterval)} |`,
    `| loss (mean negative log-likelihood) | ${metrics.loss.toFixed(4)} | |`,
    `| precision, macro | ${metrics.macroPrecision.toFixed(4)} | |`,
    `| recall, macro | ${metrics.macroRecall.toFixed(4)} | |`,
    `| F1, macro | ${metrics.macroF1.toFixed(4)} | |`,
    `| ROC-AUC | ${area(metrics.rocAuc)} | |`,
  ].join("\n");
}

function confusionTable(labels: readonly string[], confusion: Metrics["confusion"]): string {
  return [
    `| shows, down; answered, across | ${labels.map(plain).join(" | ")} |`,
    `|---|${labels.map(() => "---:|").join("")}`,
    ...labels.map((label, k) => `| ${plain(label)} | ${(confusion[k] ?? []).map(thousands).join(" | ")} |`),
  ].join("\n");
}

function perClassTable(metrics: Metrics): string {
  return [
    "| label | images | precision | recall | F1 | ROC-AUC |",
    "|---|---:|---:|---:|---:|---:|",
    ...metrics.perClass.map(
      ({ label, support, precision, recall, f1, rocAuc }) =>
        `| ${plain(label)} | ${thousands(support)} | ${precision.toFixed(4)} | ${recall.toFixed(4)} | ${f1.toFixed(4)} | ${area(rocAuc)} |`,
    ),
  ].join("\n");
}

function abstainText(metrics: Metrics, answered: AnsweredPart | undefined): string[] {
  if (answered === undefined || answered.abstainBelow === 0 || answered.accuracy === null) return [];
  return [
    `Below a confidence of ${answered.abstainBelow.toPrecision(4)} (chosen on the validation split) a picture is better looked at by a ` +
      `person. Answered above it: ${exact(answered.share)} of these images, of which ${exact(answered.accuracy)} correctly, in place of ` +
      `${exact(metrics.accuracy)} of all.`,
  ];
}

/** How the threshold was chosen, or why there is none. */
function thresholdText({ count }: Metrics, answered: AnsweredPart | undefined): string {
  const right = percent(abstainTarget, 0);
  const measure = "by the lower end of the 95 % interval";
  if (answered === undefined) {
    return (
      `> **Caution.** There is no confidence below which it abstains: these ${thousands(count)} images cannot show that ${right} of its ` +
      `answers above one are right (${measure}). That takes at least ${fewestAnswers()} validation images that it answers, none of them ` +
      `wrong. Until then it answers every picture, also with \`SERVAL_ABSTAIN=true\`.`
    );
  }
  return answered.abstainBelow === 0
    ? `It needs no confidence below which it abstains: at least ${right} of all its answers are right, ${measure}.`
    : `It is the lowest confidence above which at least ${right} of the answers are right, ${measure}.`;
}

function dataTable({ labels, images }: ModelCardInput): string {
  const row = (name: string, counts: readonly number[]): string => `| ${name} | ${counts.map(thousands).join(" | ")} |`;
  const splits = [images.train, images.val, images.test] as const;
  return [
    "| label | training | validation | test |",
    "|---|---:|---:|---:|",
    ...labels.map((label, k) =>
      row(
        plain(label),
        splits.map((counts) => counts[k] ?? 0),
      ),
    ),
    row(
      "all",
      splits.map((counts) => counts.reduce((sum, n) => sum + n, 0)),
    ),
  ].join("\n");
}

function preprocessText({ orient, width, height, fit, kernel, crop }: Preprocess, vectorFeatures: boolean): string {
  const fits = { squash: "stretched to", crop: "scaled to fill and cut to", pad: "scaled to fit into, with black bars," } as const;
  const steps = [
    ...(orient ? ["turned by its EXIF orientation"] : []),
    `${fits[fit]} ${width}x${height} pixels (${kernel})`,
    ...(crop ? [`cut to the middle ${crop.width}x${crop.height}`] : []),
  ];
  const { width: w, height: h } = crop ?? { width, height };
  return (
    `A picture is ${listing(steps)}. The network's input \`images\` is uint8 [N, ${h}, ${w}, 3] RGB; its outputs are \`logits\` and ` +
    `\`probabilities\` [N, K], in the order of the labels above, and \`features\` ${vectorFeatures ? "[N, C], what the classifier takes" : "[N, C, h, w], the last maps"}.`
  );
}

function parameterTable(parameters: Readonly<Record<string, unknown>>): string {
  const rows = Object.entries(parameters).map(
    ([key, value]) => `| \`${key}\` | ${plain(typeof value === "string" ? value : JSON.stringify(value))} |`,
  );
  return ["| parameter | value |", "|---|---|", ...rows].join("\n");
}

function limits({ labels, images, metrics }: ModelCardInput): string[] {
  const seen = metrics.perClass.filter(({ support }) => support > 0);
  const weakest = seen.reduce<(typeof seen)[number] | undefined>((low, item) => (low && low.recall <= item.recall ? low : item), undefined);
  const small = labels.filter((_, k) => (images.train[k] ?? 0) < fewImages);
  const [least, most] = [Math.min(...images.train), Math.max(...images.train)];
  return [
    ...(weakest && seen.length > 1
      ? [`- Weakest on \`${plain(weakest.label)}\`: it finds ${exact(weakest.recall)} of those validation images.`]
      : []),
    ...(small.length > 0 ? [`- Few training images (under ${fewImages}) of ${listing(small.map(code))}: their figures mean little.`] : []),
    ...(most > 3 * least
      ? [`- The classes are unequal: ${thousands(least)} to ${thousands(most)} training images. Rare labels are predicted too rarely.`]
      : []),
    "- Pictures of another kind than the training images (drawings, night shots, crops, other cameras) may get wrong answers with high confidence.",
    "- Several subjects in one picture get one label.",
    "- It was not tested against pictures that were made to deceive it.",
  ];
}

function usage({ name, preprocess }: ModelCardInput): string {
  const { width, height } = preprocess.crop ?? preprocess;
  return [
    "From the shell, and as a service:",
    "```sh\nnpx serval predict picture.jpg --model .\nnpx serval serve --model . &\ncurl -F file=@picture.jpg localhost:8000/predict\n```",
    "With onnxruntime alone (Python here; any language works the same). Serval's own preprocessing is the exact one; PIL's is close:",
    [
      "```python",
      "import json, numpy as np, onnxruntime as ort",
      "from PIL import Image, ImageOps",
      "",
      'labels = json.load(open("bundle.json"))["labels"]',
      ...pillowSteps(preprocess),
      'session = ort.InferenceSession("model.onnx")',
      `pixels = np.asarray(image, dtype=np.uint8)[None]  # [1, ${height}, ${width}, 3]`,
      'probabilities, = session.run(["probabilities"], {"images": pixels})',
      "print(labels[probabilities[0].argmax()], probabilities[0].max())",
      "```",
    ].join("\n"),
    `The name \`${plain(name)}\` is what a registry and the service's metrics call it.`,
  ].join("\n\n");
}

/** Pillow's filter that is closest to each of ours. */
const pillowFilters = {
  nearest: "NEAREST",
  linear: "BILINEAR",
  cubic: "BICUBIC",
  mitchell: "BICUBIC",
  lanczos2: "LANCZOS",
  lanczos3: "LANCZOS",
} as const satisfies Record<Kernel, string>;

function pillowSteps({ orient, width, height, fit, kernel, crop }: Preprocess): string[] {
  const filter = `Image.${pillowFilters[kernel]}`;
  const open = orient ? 'ImageOps.exif_transpose(Image.open("picture.jpg"))' : 'Image.open("picture.jpg")';
  const resize = {
    squash: `image.resize((${width}, ${height}), ${filter})`,
    crop: `ImageOps.fit(image, (${width}, ${height}), ${filter})`,
    pad: `ImageOps.pad(image, (${width}, ${height}), ${filter}, color="${padBackground}")`,
  }[fit];
  const steps = [`image = ${open}.convert("RGB")`, `image = ${resize}`];
  if (crop) {
    const [left, top] = [Math.floor((width - crop.width) / 2), Math.floor((height - crop.height) / 2)];
    steps.push(`image = image.crop((${left}, ${top}, ${left + crop.width}, ${top + crop.height}))`);
  }
  return steps;
}

function listing(items: readonly string[]): string {
  if (items.length <= 1) return items.join("");
  return `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
}

function code(text: string): string {
  return `\`${plain(text)}\``;
}

/** Labels and names are users' own: they must not end a table cell, a line or a code span. */
function plain(text: string): string {
  return text
    .replaceAll(/[\r\n`]+/g, " ")
    .replaceAll("|", "\\|")
    .replaceAll("<", "&lt;");
}

function area(value: number | null): string {
  return value === null ? "not defined" : value.toFixed(4);
}

function exact(share: number): string {
  return percent(share, 2);
}

function interval([low, high]: readonly [number, number]): string {
  return `${exact(low)} to ${exact(high)}`;
}
