/** Pretrained networks. */
export const backbonesErrors = {
  E_BACKBONE_MISSING: {
    title: "There is no backbone of that name or in that folder.",
    hint: "`serval backbones list` names those that are there, `serval backbones add` adds one; `efficientnet-lite0` comes with Serval.",
  },
  E_BACKBONE_CORRUPT: {
    title: "A file of a backbone is damaged, or belongs to another network.",
    hint: "Copy the backbone again; do not edit its files by hand.",
  },
  E_BACKBONE_EXISTS: {
    title: "There is another backbone of that name.",
    hint: "Choose another name with --name, or remove the one that is there with `serval backbones remove NAME`.",
  },
  E_BACKBONE_UNFIT: {
    title: "A file holds no network that can be a backbone.",
    hint: "docs/backbones.md says which files can be: weights of a network that Serval knows, or an ONNX file with a feature output.",
  },
  E_BACKBONE_PICKLE: {
    title: "The weights are a pickle, which can run any program when it is read. It was not read.",
    hint: "Get the weights as safetensors. Where there are none, and you trust the file: load it in PyTorch with `weights_only=True`, and write it with `safetensors.torch.save_file`.",
  },
} as const;
