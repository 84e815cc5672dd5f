import type { SchemaNode } from "./describe-schema.ts";

/**
 * params.yaml: defaults, limits and meaning, as JSON Schema. One literal, because the types below are read from it. A section's
 * keys are all there are; a key without a default may be missing.
 */
const schema = {
  type: "object",
  description: "The parameters of an experiment.",
  properties: {
    data: {
      type: "object",
      description: "Where the images come from.",
      properties: {
        source: {
          type: "string",
          default: "sample",
          minLength: 1,
          description:
            "Where the labelled images come from: a folder with one folder per class, a .zip of such a folder, an http(s) URL of one, `preset:NAME`, or `sample` (drawn by code).",
        },
        dedupe: { type: "boolean", default: true, description: "Leave out all but one of the images of a class that have the same bytes." },
      },
    },
    prepare: {
      type: "object",
      description: "How images become the fixed-size pixels that the network reads.",
      properties: {
        width: { type: "integer", default: 112, minimum: 16, maximum: 1024, description: "Width in pixels that each image is scaled to." },
        height: {
          type: "integer",
          default: 112,
          minimum: 16,
          maximum: 1024,
          description: "Height in pixels that each image is scaled to.",
        },
        fit: {
          enum: ["squash", "crop", "pad"],
          default: "squash",
          description:
            "How an image of another shape fits: squash (changes its proportions), crop (cuts the edges), pad (adds black bars).",
        },
        kernel: {
          enum: ["nearest", "linear", "cubic", "mitchell", "lanczos2", "lanczos3"],
          default: "lanczos3",
          description: "Interpolation that scales the image.",
        },
        split: {
          type: "object",
          description: "Shares of the three splits; they add up to 1. Near duplicates stay together.",
          properties: {
            train: { type: "number", default: 0.8, minimum: 0, maximum: 1, description: "Share of the images that the model learns from." },
            val: { type: "number", default: 0.1, minimum: 0, maximum: 1, description: "Share that picks the best epoch." },
            test: { type: "number", default: 0.1, minimum: 0, maximum: 1, description: "Share that is held out for the final figure." },
          },
        },
        seed: { type: "integer", default: 42, minimum: 0, maximum: 4294967295, description: "Decides which image goes to which split." },
      },
    },
    train: {
      type: "object",
      description: "How the network is trained.",
      properties: {
        // Without defaults: a params.yaml that does not name them stays the same parameters, with the same hash.
        backbone: {
          type: "string",
          minLength: 1,
          description:
            "Pretrained network whose features the classifier learns from: `efficientnet-lite0` comes with Serval, `serval backbones add` adds others (docs/backbones.md); or a folder with a backbone.json. `none` trains a network from scratch.",
        },
        strategy: {
          enum: ["auto", "head", "finetune", "scratch"],
          description:
            "What is trained: head fits a classifier on the features of the backbone, in seconds; finetune does so and then trains all layers of the backbone too, in minutes to hours; auto takes finetune where there are enough images for it (docs/fine-tuning.md), else head; scratch trains all of the network that train.architecture describes.",
        },
        layerDecay: {
          type: "number",
          exclusiveMinimum: 0,
          maximum: 1,
          description:
            "With finetune, factor of the learning rate from each group of layers to the group before it, so that the first layers change least; 0.75 when missing, 1 trains all layers at the same rate.",
        },
        select: {
          enum: ["accuracy", "macroF1", "loss"],
          description:
            "Metric on the validation split that chooses the best epoch, also for patience: accuracy (also when it is missing), macroF1, which counts a rare class like a common one, or loss. It has no effect where only a classifier on features is fitted: that has one optimum.",
        },
        architecture: {
          enum: ["cnn4", "resnet"],
          default: "cnn4",
          description:
            "Network: cnn4 is four blocks of convolution, batch normalisation, ReLU and max pooling, then a linear classifier. resnet is a residual network: slower, and more accurate given time.",
        },
        channels: {
          type: "array",
          items: { type: "integer", minimum: 1, maximum: 1024 },
          default: [32, 64, 128, 256],
          minItems: 4,
          maxItems: 6,
          description:
            "Output channels of cnn4's blocks, or of resnet's two stem convolutions (the second is the first stage as well) and its further stages. Each number halves the maps once. Multiples of 16 run fastest.",
        },
        blocks: {
          type: "integer",
          default: 2,
          minimum: 1,
          maximum: 64,
          description: "Residual blocks in each stage of resnet; cnn4 has none.",
        },
        init: {
          type: "string",
          default: "",
          description:
            "Model whose weights the training begins with: a bundle folder such as models/NAME, or a released model's name. The network must be the same; the classifier is new where the labels differ. Empty begins with random weights.",
        },
        freezeEpochs: {
          type: "integer",
          default: 1,
          fineTuningDefault: 0,
          minimum: 0,
          maximum: 10000,
          description: "With init, first epochs in which only the classifier learns; then everything does, from a warm-up on.",
        },
        cropSize: {
          type: "integer",
          default: 96,
          minimum: 16,
          maximum: 1024,
          multipleOf: 16,
          description: "Side in pixels of the square cut from the centre of each prepared image in validation and in service.",
        },
        sizes: {
          type: "array",
          items: { type: "integer", minimum: 16, maximum: 1024, multipleOf: 16 },
          default: [64, 80, 96],
          fineTuningDefault: [192],
          minItems: 1,
          maxItems: 64,
          description:
            "Sides in pixels of training images, one after the other, each for an equal share of the epochs (of more sizes than epochs the last ones count); [64, 128, 128] spends two thirds of them at 128. A side above cropSize counts as cropSize. With random crops, which enlarge what they show, the last is best somewhat below cropSize.",
        },
        epochs: {
          type: "integer",
          default: 13,
          fineTuningDefault: 8,
          minimum: 1,
          maximum: 10000,
          description: "Passes over the training split.",
        },
        batchSize: { type: "integer", default: 32, minimum: 1, maximum: 4096, description: "Images per optimizer step." },
        optimizer: {
          enum: ["sgd", "adamw"],
          default: "adamw",
          description: "adamw, or sgd (with momentum), which needs a learning rate near 0.01 and a weight decay near 0.0005.",
        },
        learningRate: {
          type: "number",
          default: 0.002,
          fineTuningDefault: 0.0001,
          exclusiveMinimum: 0,
          maximum: 10,
          description: "Highest learning rate: reached after the warm-up, then lowered along a cosine.",
        },
        momentum: { type: "number", default: 0.9, minimum: 0, exclusiveMaximum: 1, description: "Momentum of sgd; adamw does not use it." },
        weightDecay: {
          type: "number",
          default: 0.05,
          fineTuningDefault: 0.01,
          minimum: 0,
          maximum: 1,
          description: "Weight decay of convolution and linear weights.",
        },
        labelSmoothing: {
          type: "number",
          default: 0.05,
          minimum: 0,
          exclusiveMaximum: 1,
          description: "Probability that the training target spreads over all classes.",
        },
        warmupEpochs: {
          type: "number",
          default: 1,
          minimum: 0,
          maximum: 10000,
          description: "Epochs in which the learning rate rises from near 0; at most half of those in which everything learns.",
        },
        dropout: {
          type: "number",
          default: 0.2,
          minimum: 0,
          exclusiveMaximum: 1,
          description: "Share of the features dropped before the classifier.",
        },
        flip: {
          type: "boolean",
          default: true,
          description: "Mirror training images left to right at random. Switch it off where left and right matter.",
        },
        cropScale: {
          type: "number",
          default: 1,
          fineTuningDefault: 0.5,
          exclusiveMinimum: 0,
          maximum: 1,
          description:
            "Smallest share that a random crop keeps in training of the area of the largest square in an image. Its shape is random too, and what does not fit is cut: up to 13 % of one side at 1. Small crops ask for many epochs: in a training of 13, a share of 0.5 costs accuracy.",
        },
        colorJitter: {
          type: "number",
          default: 0,
          fineTuningDefault: 0.3,
          minimum: 0,
          maximum: 1,
          description: "Largest change of brightness, contrast and saturation in training, as a share; white balance by a quarter of it.",
        },
        blur: {
          type: "number",
          default: 0,
          minimum: 0,
          maximum: 1,
          description: "Probability that a training image is out of focus, by up to 4 % of its longer side to each side.",
        },
        noise: {
          type: "number",
          default: 0,
          minimum: 0,
          maximum: 1,
          description: "Probability that a training image is noisy, with a standard deviation of up to 40 of 255.",
        },
        erasing: {
          type: "number",
          default: 0,
          minimum: 0,
          maximum: 1,
          description: "Probability that a random rectangle of a training image is filled with one colour.",
        },
        mixup: {
          type: "number",
          default: 0,
          minimum: 0,
          maximum: 1,
          description: "Alpha of mixup, which blends pairs of training images and their labels; 0 is off.",
        },
        cutmix: {
          type: "number",
          default: 0,
          minimum: 0,
          maximum: 1,
          description: "Alpha of cutmix, which exchanges rectangles between pairs of training images; 0 is off.",
        },
        mixProbability: {
          type: "number",
          default: 0.5,
          minimum: 0,
          maximum: 1,
          description: "Share of the batches to which mixup or cutmix is applied.",
        },
        emaDecay: {
          type: "number",
          default: 0,
          fineTuningDefault: 0.998,
          minimum: 0,
          exclusiveMaximum: 1,
          description:
            "Decay in each step of a moving average of the weights, which is then validated and exported; 0 takes the weights themselves.",
        },
        patience: {
          type: "integer",
          default: 0,
          minimum: 0,
          maximum: 10000,
          description:
            "Stop after this many epochs without a better validation result, counted from the last of the sizes on; 0 never stops early.",
        },
        seed: {
          type: "integer",
          default: 42,
          minimum: 0,
          maximum: 4294967295,
          description: "Decides the first weights, the shuffling and the augmentation.",
        },
        threads: { type: "integer", default: 0, minimum: 0, maximum: 1024, description: "Threads for the arithmetic; 0 uses all cores." },
        lowering: {
          enum: ["auto", "blocked", "portable"],
          default: "auto",
          description: "Form of the compiled graph: blocked is fastest on x86 CPUs, portable runs everywhere, auto chooses.",
        },
      },
    },
    model: {
      type: "object",
      description: "What the result is called.",
      properties: {
        name: {
          type: "string",
          default: "classifier",
          pattern: "^[a-z0-9][a-z0-9._-]{0,62}$",
          patternMeaning: "1 to 63 of a-z, 0-9, dot, dash and underscore, starting with a letter or digit",
          description: "Name of the released model: its folder under models/ and its name in the registry.",
        },
        precision: {
          enum: ["float32", "float16"],
          default: "float32",
          description: "How the bundle stores weights: float16 halves its size. The arithmetic is float32 either way.",
        },
      },
    },
  },
} as const;

/** What a node of the schema accepts. */
type Accepted<Node> = Node extends { readonly properties: infer Keys }
  ? Section<Keys>
  : Node extends { readonly enum: readonly (infer Value)[] }
    ? Value
    : Node extends { readonly type: "array"; readonly items: infer Item }
      ? readonly Accepted<Item>[]
      : Node extends { readonly type: "integer" | "number" }
        ? number
        : Node extends { readonly type: "boolean" }
          ? boolean
          : string;

/** Whether a key of a section is always there once the defaults are filled in. */
type Filled = { readonly default: unknown } | { readonly properties: unknown };

type Section<Keys> = {
  readonly [Key in keyof Keys as Keys[Key] extends Filled ? Key : never]: Accepted<Keys[Key]>;
} & {
  readonly [Key in keyof Keys as Keys[Key] extends Filled ? never : Key]?: Accepted<Keys[Key]>;
};

/** params.yaml with its defaults filled in. What each value means is in the schema, and in docs/configuration.md. */
export type Params = Accepted<typeof schema>;

/** The one description of params.yaml. docs/configuration.md and `serval init` are written from it. */
export const paramsSchema: SchemaNode = schema;

/** The defaults, newly made; `fineTuning` for a backbone whose layers all learn. */
export function defaultParams(fineTuning: boolean = false): Params {
  return defaultsOf(schema, fineTuning) as Params;
}

function defaultsOf(node: SchemaNode, fineTuning: boolean): unknown {
  if (!node.properties) return structuredClone((fineTuning ? node.fineTuningDefault : undefined) ?? node.default);
  const entries = Object.entries(node.properties).map(([key, child]) => [key, defaultsOf(child, fineTuning)] as const);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}
