/** Measuring a model, and comparing two. */
export const evaluationErrors = {
  E_METRICS: {
    title: "Metrics cannot be computed: the sizes or values of the predictions do not match.",
    hint: "Check that the model and the data have the same classes.",
  },
  E_RESULTS: {
    title: "The results.csv of a run cannot be read.",
    hint: "Correct the line that the message names, or remove the file: a resumed run starts a new one.",
  },
  E_SPLIT_EMPTY: {
    title: "There are no images to evaluate.",
    hint: "Choose another split, or import more images and run `serval prepare`.",
  },
  E_MODEL_DATA: {
    title: "The model and the data do not match.",
    hint: "Run `serval prepare` with the parameters that the model was trained with, or evaluate a folder or zip with --data.",
  },
  E_PREDICTIONS: {
    title: "The predictions of two models cannot be compared.",
    hint: "Remove the evaluation folder that is out of date, or run `serval evaluate` on both models with the same data.",
  },
} as const;
