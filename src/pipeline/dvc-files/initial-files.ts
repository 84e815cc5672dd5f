import { evaluationDir, finalModelDir, rawDir, shardsDir, trainedModelDir, trainingDir } from "../../paths.ts";
export interface PipelineOptions {
  /** How a shell in the working repository calls Serval: `npx serval`. */
  readonly command: string;
  /** The file or folder that the images come from, relative to dvc.yaml; undefined where nothing on this disk is. */
  readonly sourcePath?: string | undefined;
}

/**
 * The files that make a working repository one of DVC's, by path: what `dvc init` writes, and a dvc.yaml with the four stages.
 * `dvc repro` then runs them, and `dvc status` tells what changed.
 */
export function renderDvcFiles(options: PipelineOptions): Readonly<Record<string, string>> {
  return {
    "dvc.yaml": renderPipeline(options),
    ".dvcignore": ignored,
    ".dvc/config": config,
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
  };
}

function renderPipeline({ command, sourcePath }: PipelineOptions): string {
  const source = sourcePath === undefined ? "" : `\n    deps:\n      - ${JSON.stringify(sourcePath)}`;
  return `# From images to an evaluated model. The format is DVC's: \`dvc repro\` runs what changed.
stages:
  # Checks every image and sets broken ones aside.
  download_data:
    cmd: ${command} data import${source}
    params:
      - data
    outs:
      - ${rawDir}
  # Splits the images and scales them once.
  preprocess_data:
    cmd: ${command} prepare
    deps:
      - ${rawDir}
    params:
      - data.dedupe
      - prepare
    outs:
      - ${shardsDir}
  train_model:
    cmd: ${command} train
    deps:
      - ${shardsDir}
    params:
      - train
      - model
    outs:
      - ${trainedModelDir}
      - ${finalModelDir}
      - ${trainingDir}
  evaluate_model:
    cmd: ${command} evaluate --model ${trainedModelDir}
    deps:
      - ${shardsDir}
      - ${trainedModelDir}
    outs:
      - ${evaluationDir}

metrics:
  - ${evaluationDir}/metrics.json

plots:
  - Loss:
      x: epoch
      y:
        ${trainingDir}/results.csv: [train_loss, val_loss]
  - Accuracy:
      x: epoch
      y:
        ${trainingDir}/results.csv: [train_accuracy, val_accuracy]
  - ${evaluationDir}/confusion-matrix.png
  - ${evaluationDir}/reliability.png
`;
}

const ignored = `# What DVC ignores.
.serval/
node_modules/

# Time, host and run of a training: everything else in a model's folder depends on data, parameters and code alone.
provenance.json
`;

const config = `# A place for the data of your team: dvc remote add --default NAME URL
`;
