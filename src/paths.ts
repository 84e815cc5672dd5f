/** What lies where in a working folder, as docs/architecture.md describes it. Relative paths with slashes, which `join` and `resolve` take on every system. */

/** What an experiment is. */
export const paramsFile = "params.yaml";

/** State of Serval that can be removed, unless SERVAL_STATE_DIR names another folder. */
export const defaultStateDir = ".serval";
/** In the state folder: what the service answered, and the feedback. */
export const predictionsFile = "predictions.db";
/** In the state folder: what waits for a PostgreSQL that does not answer. */
export const predictionSpoolFile = "predictions-spool.db";
/** In the state folder: one folder a training run. */
export const runsFolder = "runs";

/** The images that passed the check, and their manifest. */
export const rawDir = "data/raw";
/** What was set aside, and why. */
export const quarantineDir = "data/quarantine";
/** What people decided about labels and pictures; in Git. An import applies it. */
export const correctionsFile = "data/corrections.jsonl";
/** Shards: pixels of the three splits. */
export const shardsDir = "data/processed";

/** The bundle of the best epoch: what `serval train` is for. */
export const trainedModelDir = "artifacts/best";
/** The bundle of the last epoch. */
export const finalModelDir = "artifacts/final";
/** The results of the last run, at a place that does not change with the run. */
export const trainingDir = "artifacts/training";
/** Metrics, plots and predictions of the last evaluation on the test split; with `-data`, `-val` or `-train` at its end, on other pictures. */
export const evaluationDir = "artifacts/evaluation";
/** What `serval data check --labels` found: a page to look at, and a list to decide in. */
export const qualityDir = "artifacts/quality";

/** Released bundles, in Git; written only by `serval models release`. */
export const releasedModelsDir = "models";
/** Pretrained networks: in a working folder, and in the package. */
export const backbonesDir = "models/backbones";
