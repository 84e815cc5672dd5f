/** Networks, and the runs that train them. */
export const trainingErrors = {
  E_GRAPH: {
    title: "A network cannot be built: shapes or names do not match.",
    hint: "Check train.cropSize and train.channels in params.yaml: each block halves the maps.",
  },
  E_WEIGHTS: {
    title: "Trained weights do not fit the network.",
    hint: "Train again, or name the architecture and channels that the weights were trained with.",
  },
  E_INIT_MISMATCH: {
    title: "The model in train.init has another network than the one to train.",
    hint: "Set train.architecture, train.channels and train.blocks to those of the model, or choose another model for train.init, or none.",
  },
  E_TOO_FEW_IMAGES: {
    title: "There are too few pictures to train with.",
    hint: "Import more labelled pictures, then run `serval prepare`.",
  },
  E_CHECKPOINT_CORRUPT: {
    title: "A checkpoint file is damaged.",
    hint: "Remove the file that the message names and resume again, or start a new run.",
  },
  E_RESUME_MISMATCH: {
    title: "A run cannot continue with other parameters or other data.",
    hint: "Restore params.yaml and the data (args.yaml in the run folder has the parameters), or start a new run.",
  },
  E_TRAINING_RUNS: {
    title: "Another training is already running in this folder.",
    hint: "Wait until it is done, or stop it.",
  },
  E_RUN_NOT_FOUND: {
    title: "There is no such training run.",
    hint: "Look in .serval/runs, or start a new run without --resume.",
  },
  E_TRAIN_DIVERGED: {
    title: "Training diverged: the loss is no longer a number, or stays far above that of guessing.",
    hint: "Start a new run with a lower train.learningRate (a third of it is a good first try; `serval train --find-lr` measures one) or a higher train.warmupEpochs.",
  },
} as const;
