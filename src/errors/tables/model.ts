/** Bundles and their files. */
export const modelErrors = {
  E_BUNDLE_MISSING: {
    title: "There is no model bundle where one is expected, or a part of it is not there.",
    hint: "Train one with `serval train`, or name another with --model.",
  },
  E_BUNDLE_CORRUPT: {
    title: "A file of a model bundle is damaged: it is not what bundle.json says.",
    hint: "Copy or train the bundle again; do not edit its files by hand.",
  },
  E_BUNDLE_NEWER: {
    title: "A model bundle was made by a newer version of Serval.",
    hint: "Update Serval where the model is used.",
  },
  E_BUNDLE_CHECKS: {
    title: "A model does not give the known answers of its own check images.",
    hint: "Do not serve it: train or copy the bundle again, with the installed version of Serval.",
  },
  E_SAFETENSORS: {
    title: "The bytes are not a valid safetensors file.",
    hint: "Export the weights again.",
  },
} as const;
