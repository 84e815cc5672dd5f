import type { Shards } from "../data/shards.ts";
import { ServalError } from "../errors/serval-error.ts";
import type { Architecture } from "../nn/architectures/architecture.ts";
import { BACKBONES, withClassifier } from "../nn/architectures/backbones.ts";
import { ARCHITECTURES } from "../nn/architectures/index.ts";
import type { NetworkOptions } from "../nn/network.ts";
import { buildTrainingStep, type StateSpec } from "../nn/training-step.ts";
import { exportedInference, type ExportedNetwork } from "./exported-network.ts";
import type { TrainConfig, TrainJob } from "./train-job.ts";

/** Where train.layerDecay is missing. */
const usualLayerDecay = 0.75;

/** A network, and how its layers learn. */
export interface TrainedNetwork {
  readonly architecture: Architecture;
  readonly learning: NetworkOptions;
}

/** Throws E_PARAMS for an architecture that does not exist. */
function networkToTrain({ config, backbone }: Pick<TrainJob, "config" | "backbone">): TrainedNetwork {
  const known = backbone && BACKBONES[backbone.name];
  if (known) {
    const rateFactor = layerRates(known.layerGroups, config.layerDecay ?? usualLayerDecay);
    // With its running statistics, as it answers: a batch of some dozen pictures would give worse ones.
    return { architecture: withClassifier({ ...known, ...backbone }), learning: { rateFactor, frozenStatistics: true } };
  }
  const architecture = ARCHITECTURES[config.architecture];
  if (!architecture)
    throw new ServalError(
      "E_PARAMS",
      `train.architecture: expected one of ${Object.keys(ARCHITECTURES).join(", ")}; got "${config.architecture}".`,
    );
  return { architecture, learning: {} };
}

/** 1 for the classifier, `decay` for the last group of layers, its square for the group before that, and so on. Howard and Ruder 2018, arXiv:1801.06146. */
function layerRates(groups: readonly (readonly string[])[], decay: number): (name: string) => number {
  return (name) => {
    const group = groups.findIndex((prefixes) => prefixes.some((prefix) => name.startsWith(prefix)));
    return group < 0 ? 1 : decay ** (groups.length - group);
  };
}

/** Checks what the schema of the parameters cannot: that this network fits this data. Throws E_PARAMS. */
export function checkConfig({ config, backbone }: Pick<TrainJob, "config" | "backbone">, shards: Shards): TrainedNetwork {
  const network = networkToTrain({ config, backbone });
  const { architecture } = network;
  const multiple = architecture.sizeMultiple({ ...config, classes: shards.labels.length });
  for (const [key, sides] of [
    ["cropSize", [config.cropSize]],
    ["sizes", config.sizes.filter((side) => side < config.cropSize)],
  ] as const)
    for (const side of sides)
      if (side % multiple !== 0)
        throw new ServalError(
          "E_PARAMS",
          `train.${key}: got ${side}; expected a multiple of ${multiple}, because the network halves the maps so often.`,
        );
  const smaller = Math.min(shards.width, shards.height);
  if (config.cropSize > smaller)
    throw new ServalError(
      "E_PARAMS",
      `train.cropSize: got ${config.cropSize}; the prepared pictures are ${shards.width}x${shards.height}, so expected at most ${smaller - (smaller % multiple)}.`,
    );
  if (shards.splits.train.count < 2 || shards.splits.val.count < 1)
    throw new ServalError(
      "E_TOO_FEW_IMAGES",
      `There are ${shards.splits.train.count} training and ${shards.splits.val.count} validation pictures; expected at least 2 and 1.`,
    );
  return network;
}

/** The tensors that go round in a training, whatever the size of pictures and batches: parameters, statistics and slots. */
export function stateTensors({ architecture, learning }: TrainedNetwork, config: TrainConfig, classes: number): readonly StateSpec[] {
  const size = { batchSize: 2, height: config.cropSize, width: config.cropSize };
  return buildTrainingStep(architecture, { ...config, ...learning, ...size, classes, dropout: false }).state;
}

/** Those of them that make the model: parameters and statistics, as a bundle holds them. */
export function modelTensors(config: TrainConfig, classes: number): StateSpec[] {
  return stateTensors(networkToTrain({ config }), config, classes).filter(({ role }) => role !== "slot");
}

/** The network that a training from scratch leaves for the export. */
export function scratchNetwork(config: TrainConfig, shards: Shards): ExportedNetwork {
  const { channels, blocks } = config;
  return {
    ...exportedInference(checkConfig({ config }, shards).architecture, { channels, blocks }),
    tensors: modelTensors(config, shards.labels.length),
    metadata: { channels: JSON.stringify(channels), blocks: String(blocks) },
  };
}

/**
 * Side of the training pictures in each epoch: equal shares of the epochs for each of the sizes, so that the first ones can
 * be cheap (progressive resizing). Of more sizes than epochs the last ones count, because they are what the service sees.
 */
export function epochSizes({ sizes, cropSize, epochs }: Pick<TrainConfig, "sizes" | "cropSize" | "epochs">): number[] {
  const used = sizes.slice(-epochs);
  return Array.from({ length: epochs }, (_, epoch) => Math.min(cropSize, used[Math.floor((epoch * used.length) / epochs)] as number));
}
