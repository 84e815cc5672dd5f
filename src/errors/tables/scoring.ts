/** Scoring pictures into a file. */
export const scoringErrors = {
  E_SCORE_OTHER: {
    title: "The output file is not that of this job: the source, the model or the shard is another.",
    hint: "Name another file with --out, or remove the file and those beside it that begin with its name.",
  },
  E_SCORE_RUNS: {
    title: "Another process already writes this output file.",
    hint: "Wait until it is done, or stop it.",
  },
} as const;
