/** Pretrained networks. */
export const backbonesErrors = {
  E_BACKBONE_MISSING: {
    title: "There is no backbone of that name or in that folder.",
    hint: "`serval backbones list` lists the installed backbones, `serval backbones add` adds one. `efficientnet-lite0` comes with Serval.",
  },
  E_BACKBONE_CORRUPT: {
    title: "A file of a backbone is damaged, or belongs to another network.",
    hint: "Copy the backbone again; do not edit its files by hand.",
  },
  E_BACKBONE_EXISTS: {
    title: "A backbone with that name already exists.",
    hint: "Choose another name with --name, or remove the existing one with `serval backbones remove NAME`.",
  },
  E_BACKBONE_UNFIT: {
    title: "The file does not contain a network that can be used as a backbone.",
    hint: "Use the weights of a network that Serval knows, or an ONNX file with a feature output (docs/backbones.md).",
  },
  E_BACKBONE_PICKLE: {
    title: "The weights are a pickle, which can run any program when it is read. It was not read.",
    hint: "Get the weights as safetensors. If there are none and you trust the file, load it in PyTorch with `weights_only=True` and save it with `safetensors.torch.save_file`.",
  },
} as const;
