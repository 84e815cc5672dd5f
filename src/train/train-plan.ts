import type { Shards } from "../data/shards.ts";
import { ServalError } from "../errors.ts";
import type { Architecture } from "../nn/architectures/architecture.ts";
import { ARCHITECTURES } from "../nn/architectures/index.ts";
import type { TrainConfig } from "./train-job.ts";

/** Checks what the schema of the parameters cannot: that this network fits this data. Throws E_PARAMS. */
export function checkConfig(config: TrainConfig, shards: Shards): Architecture {
  const architecture = ARCHITECTURES[config.architecture];
  if (!architecture)
    throw new ServalError(
      "E_PARAMS",
      `train.architecture: expected one of ${Object.keys(ARCHITECTURES).join(", ")}; got "${config.architecture}".`,
    );
  const multiple = architecture.sizeMultiple({ channels: config.channels, classes: shards.labels.length });
  if (config.startSize % multiple !== 0)
    throw new ServalError(
      "E_PARAMS",
      `train.startSize: got ${config.startSize}; expected a multiple of ${multiple}, because every block halves the maps.`,
    );
  const smaller = Math.min(shards.width, shards.height);
  if (config.cropSize % multiple !== 0)
    throw new ServalError(
      "E_PARAMS",
      `train.cropSize: got ${config.cropSize}; expected a multiple of ${multiple}, because every block halves the maps.`,
    );
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
  return architecture;
}

/**
 * Side of the pictures in each epoch: from startSize to cropSize in equal shares of the epochs, so that most of them are
 * cheap and the last ones see what the service sees (progressive resizing).
 */
export function epochSizes(
  { startSize, cropSize, epochs }: Pick<TrainConfig, "startSize" | "cropSize" | "epochs">,
  multiple: number,
): number[] {
  const first = Math.min(startSize, cropSize);
  const sizes = Array.from({ length: (cropSize - first) / multiple + 1 }, (_, k) => first + k * multiple);
  return Array.from({ length: epochs }, (_, epoch) => sizes[Math.floor((epoch * sizes.length) / epochs)] as number);
}
