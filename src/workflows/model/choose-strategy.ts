import type { LoadedBackbone } from "../../backbones/load-backbone.ts";
import type { Params } from "../../config/params.ts";
import type { Shards } from "../../data/shards.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { thousands } from "../../text.ts";

/** What a training trains: a classifier on a backbone, that and the layers of the backbone, or a network from scratch. */
export type Strategy = "head" | "finetune" | "scratch";

/** From this number of training images on, auto fine-tunes; docs/fine-tuning.md has the measurements behind it. */
const fewestToFineTune = 1000;

/** What train.strategy means for this backbone and these pictures, with the reason where it leaves the choice. Throws E_PARAMS. */
export function chooseStrategy(
  { strategy }: Params["train"],
  backbone: LoadedBackbone | undefined,
  { splits }: Pick<Shards, "splits">,
): { readonly strategy: Strategy; readonly reason?: string } {
  if (!backbone) return { strategy: "scratch" };
  const { name } = backbone.record;
  const isFixed = backbone.kind === "onnx";
  if (strategy === "auto") {
    if (isFixed)
      return { strategy: "head", reason: `Strategy head: the backbone ${name} is an ONNX file, whose layers cannot be trained.` };
    const { count } = splits.train;
    const images = `${thousands(count)} training images`;
    return count < fewestToFineTune
      ? {
          strategy: "head",
          reason: `Strategy head: with ${images}, fine-tuning would gain little; from ${thousands(fewestToFineTune)} on it does.`,
        }
      : {
          strategy: "finetune",
          reason: `Strategy finetune: ${images} are enough for it. \`--set train.strategy=head\` takes seconds instead.`,
        };
  }
  if (strategy === "finetune" && isFixed) {
    throw new ServalError(
      "E_PARAMS",
      `train.strategy: finetune cannot train the layers of the backbone ${name}, because it is an ONNX file.`,
      {
        hint: "Set train.strategy to head, or use a backbone that Serval knows, such as efficientnet-lite0.",
      },
    );
  }
  return { strategy: strategy === "finetune" ? "finetune" : "head" };
}
