/** Bundles and their files. */
export const modelErrors = {
  E_BUNDLE_MISSING: {
    title: "The model bundle, or a part of it, is missing.",
    hint: "Train one with `serval train`, or name another with --model.",
  },
  E_BUNDLE_CORRUPT: {
    title: "A file of a model bundle is damaged: it does not match bundle.json.",
    hint: "Copy or train the bundle again; do not edit its files by hand.",
  },
  E_BUNDLE_NEWER: {
    title: "A model bundle was made by a newer version of Serval.",
    hint: "Update Serval where the model is used.",
  },
  E_BUNDLE_CHECKS: {
    title: "A model does not give the expected answers for its check images.",
    hint: "Do not serve it: train or copy the bundle again, with the installed version of Serval.",
  },
  E_SAFETENSORS: {
    title: "The bytes are not a valid safetensors file.",
    hint: "Export the weights again.",
  },
} as const;
