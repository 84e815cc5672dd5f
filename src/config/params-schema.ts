import Type, { type TSchema } from "typebox";
import { Create } from "typebox/value";
import { paramsFile } from "../paths.ts";

/** params.yaml with its defaults filled in. What each value means stands in the schema below and in docs/configuration.md. */
export interface Params {
  readonly data: { readonly source: string; readonly dedupe: boolean };
  readonly prepare: {
    readonly width: number;
    readonly height: number;
    readonly fit: "squash" | "crop" | "pad";
    readonly kernel: "nearest" | "linear" | "cubic" | "mitchell" | "lanczos2" | "lanczos3";
    readonly split: { readonly train: number; readonly val: number; readonly test: number };
    readonly seed: number;
  };
  readonly train: {
    /** Missing, like "none": the network is trained from scratch. */
    readonly backbone?: string;
    /** Missing: head with a backbone, else scratch. */
    readonly strategy?: "head" | "scratch";
    /** Missing: accuracy. */
    readonly select?: "accuracy" | "macroF1" | "loss";
    readonly architecture: "cnn4" | "resnet";
    readonly channels: readonly number[];
    readonly blocks: number;
    readonly init: string;
    readonly freezeEpochs: number;
    readonly cropSize: number;
    readonly sizes: readonly number[];
    readonly epochs: number;
    readonly batchSize: number;
    readonly optimizer: "sgd" | "adamw";
    readonly learningRate: number;
    readonly momentum: number;
    readonly weightDecay: number;
    readonly labelSmoothing: number;
    readonly warmupEpochs: number;
    readonly dropout: number;
    readonly flip: boolean;
    readonly cropScale: number;
    readonly colorJitter: number;
    readonly blur: number;
    readonly noise: number;
    readonly erasing: number;
    readonly mixup: number;
    readonly cutmix: number;
    readonly mixProbability: number;
    readonly emaDecay: number;
    readonly patience: number;
    readonly seed: number;
    readonly threads: number;
    readonly lowering: "auto" | "blocked" | "portable";
  };
  readonly model: { readonly name: string; readonly precision: "float32" | "float16" };
}

const strict = { additionalProperties: false } as const;

const data = Type.Object(
  {
    source: Type.String({
      default: "sample",
      minLength: 1,
      description:
        "Where the labelled images come from: a folder with one folder per class, a .zip of such a folder, an http(s) URL of one, `preset:NAME`, or `sample` (drawn by code).",
    }),
    dedupe: Type.Boolean({
      default: true,
      description: "Leave out all but one of the images of a class that have the same bytes.",
    }),
  },
  { ...strict, description: "Where the images come from." },
);

const share = (value: number, description: string): Type.TNumber => Type.Number({ default: value, minimum: 0, maximum: 1, description });
const seed = (description: string): Type.TInteger => Type.Integer({ default: 42, minimum: 0, maximum: 2 ** 32 - 1, description });

const prepare = Type.Object(
  {
    width: Type.Integer({ default: 112, minimum: 16, maximum: 1024, description: "Width in pixels that each image is scaled to." }),
    height: Type.Integer({ default: 112, minimum: 16, maximum: 1024, description: "Height in pixels that each image is scaled to." }),
    fit: Type.Enum(["squash", "crop", "pad"], {
      default: "squash",
      description: "How an image of another shape fits: squash (changes its proportions), crop (cuts the edges), pad (adds black bars).",
    }),
    kernel: Type.Enum(["nearest", "linear", "cubic", "mitchell", "lanczos2", "lanczos3"], {
      default: "lanczos3",
      description: "Interpolation that scales the image.",
    }),
    split: Type.Object(
      {
        train: share(0.8, "Share of the images that the model learns from."),
        val: share(0.1, "Share that picks the best epoch."),
        test: share(0.1, "Share that is kept apart for the final figure."),
      },
      { ...strict, description: "Shares of the three splits; they add up to 1. Near duplicates stay together." },
    ),
    seed: seed("Decides which image goes to which split."),
  },
  { ...strict, description: "How images become the fixed-size pixels that the network reads." },
);

// Without defaults: a params.yaml that does not name them stays the same parameters, with the same hash.
const laterParameters = {
  backbone: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        "Pretrained network whose features the classifier learns from: `efficientnet-lite0` comes with Serval, `serval backbones add` adds others (docs/backbones.md); or a folder with a backbone.json. `none` trains a network from scratch.",
    }),
  ),
  strategy: Type.Optional(
    Type.Enum(["head", "scratch"], {
      description:
        "What is trained: head fits a classifier on the features of the backbone, in seconds; scratch trains all of the network that train.architecture describes.",
    }),
  ),
  select: Type.Optional(
    Type.Enum(["accuracy", "macroF1", "loss"], {
      description:
        "What makes an epoch the best one on the validation split, and patience wait: accuracy (also when it is missing), macroF1, which counts a rare class like a common one, or loss. It has no meaning beside train.backbone: a classifier on features has one optimum.",
    }),
  ),
};

const train = Type.Object(
  {
    ...laterParameters,
    architecture: Type.Enum(["cnn4", "resnet"], {
      default: "cnn4",
      description:
        "Network: cnn4 is four blocks of convolution, batch normalisation, ReLU and max pooling, then a linear classifier. resnet is a residual network: slower, and more accurate given time.",
    }),
    channels: Type.Array(Type.Integer({ minimum: 1, maximum: 1024 }), {
      default: [32, 64, 128, 256],
      minItems: 4,
      maxItems: 6,
      description:
        "Output channels of cnn4's blocks, or of resnet's two stem convolutions (the second is the first stage as well) and its further stages. Each number halves the maps once. Multiples of 16 run fastest.",
    }),
    blocks: Type.Integer({ default: 2, minimum: 1, maximum: 64, description: "Residual blocks in each stage of resnet; cnn4 has none." }),
    init: Type.String({
      default: "",
      description:
        "Model whose weights the training begins with: a bundle folder such as models/NAME, or a released model's name. The network must be the same; the classifier is new where the labels differ. Empty begins with random weights.",
    }),
    freezeEpochs: Type.Integer({
      default: 1,
      minimum: 0,
      maximum: 10_000,
      description: "With init, first epochs in which only the classifier learns; then everything does, from a warm-up on.",
    }),
    cropSize: Type.Integer({
      default: 96,
      minimum: 16,
      maximum: 1024,
      multipleOf: 16,
      description: "Side in pixels of the square cut from the centre of each prepared image in validation and in service.",
    }),
    sizes: Type.Array(Type.Integer({ minimum: 16, maximum: 1024, multipleOf: 16 }), {
      default: [64, 80, 96],
      minItems: 1,
      maxItems: 64,
      description:
        "Sides in pixels of training images, one after the other, each for an equal share of the epochs (of more sizes than epochs the last ones count); [64, 128, 128] spends two thirds of them at 128. A side above cropSize counts as cropSize. With random crops, which enlarge what they show, the last is best somewhat below cropSize.",
    }),
    epochs: Type.Integer({ default: 13, minimum: 1, maximum: 10_000, description: "Passes over the training split." }),
    batchSize: Type.Integer({ default: 32, minimum: 1, maximum: 4096, description: "Images per optimizer step." }),
    optimizer: Type.Enum(["sgd", "adamw"], {
      default: "adamw",
      description: "adamw, or sgd (with momentum), which wants a learning rate near 0.01 and a weight decay near 0.0005.",
    }),
    learningRate: Type.Number({
      default: 0.002,
      exclusiveMinimum: 0,
      maximum: 10,
      description: "Highest learning rate: reached after the warm-up, then lowered along a cosine.",
    }),
    momentum: Type.Number({ default: 0.9, minimum: 0, exclusiveMaximum: 1, description: "Momentum of sgd; adamw does not use it." }),
    weightDecay: Type.Number({ default: 0.05, minimum: 0, maximum: 1, description: "Weight decay of convolution and linear weights." }),
    labelSmoothing: Type.Number({
      default: 0.05,
      minimum: 0,
      exclusiveMaximum: 1,
      description: "Probability that the training target spreads over all classes.",
    }),
    warmupEpochs: Type.Number({
      default: 1,
      minimum: 0,
      maximum: 10_000,
      description: "Epochs in which the learning rate rises from near 0; at most half of those in which everything learns.",
    }),
    dropout: Type.Number({
      default: 0.2,
      minimum: 0,
      exclusiveMaximum: 1,
      description: "Share of the features dropped before the classifier.",
    }),
    flip: Type.Boolean({
      default: true,
      description: "Mirror training images left to right at random. Switch it off where left and right matter.",
    }),
    cropScale: Type.Number({
      default: 1,
      exclusiveMinimum: 0,
      maximum: 1,
      description:
        "Smallest share that a random crop keeps in training of the area of the largest square in an image. Its shape is random too, and what does not fit is cut: up to 13 % of one side at 1. Small crops ask for many epochs: in a training of 13, a share of 0.5 costs accuracy.",
    }),
    colorJitter: share(
      0,
      "Largest change of brightness, contrast and saturation in training, as a share; white balance by a quarter of it.",
    ),
    blur: share(0, "Probability that a training image is out of focus, by up to 4 % of its longer side to each side."),
    noise: share(0, "Probability that a training image is noisy, with a standard deviation of up to 40 of 255."),
    erasing: share(0, "Probability that a random rectangle of a training image is blotted out."),
    mixup: share(0, "Alpha of mixup, which blends pairs of training images and their labels; 0 is off."),
    cutmix: share(0, "Alpha of cutmix, which exchanges rectangles between pairs of training images; 0 is off."),
    mixProbability: share(0.5, "Share of the batches that mixup or cutmix works on."),
    emaDecay: Type.Number({
      default: 0,
      minimum: 0,
      exclusiveMaximum: 1,
      description:
        "Decay in each step of a moving average of the weights, which is then validated and exported; 0 takes the weights themselves.",
    }),
    patience: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 10_000,
      description:
        "Stop after this many epochs without a better validation result, counted from the last of the sizes on; 0 never stops early.",
    }),
    seed: seed("Decides the first weights, the shuffling and the augmentation."),
    threads: Type.Integer({ default: 0, minimum: 0, maximum: 1024, description: "Threads for the arithmetic; 0 uses all cores." }),
    lowering: Type.Enum(["auto", "blocked", "portable"], {
      default: "auto",
      description: "Form of the compiled graph: blocked is fastest on x86 CPUs, portable runs everywhere, auto picks.",
    }),
  },
  { ...strict, description: "How the network is trained." },
);

const model = Type.Object(
  {
    name: Type.String({
      default: "classifier",
      pattern: "^[a-z0-9][a-z0-9._-]{0,62}$",
      patternMeaning: "1 to 63 of a-z, 0-9, dot, dash and underscore, starting with a letter or digit",
      description: "Name of the released model: its folder under models/ and its name in the registry.",
    }),
    precision: Type.Enum(["float32", "float16"], {
      default: "float32",
      description: "How the bundle holds weights: float16 halves its size. The arithmetic is float32 either way.",
    }),
  },
  { ...strict, description: "What the result is called." },
);

const schema = Type.Object({ data, prepare, train, model }, { ...strict, description: paramsFile });

/** The one description of params.yaml: defaults, limits and meaning. docs/configuration.md and `serval init` are written from it. */
export const paramsSchema: TSchema = schema;

/** The defaults, newly made. Does not compile when the schema and the interface drift apart. */
export function defaultParams(): Params {
  const params: Type.Static<typeof schema> = Create(schema);
  return params satisfies { [Section in keyof Params]: { [Key in keyof Params[Section]]: unknown } };
}
