import type { YamlValue } from "./yaml-values.ts";

/** A file or folder that a stage writes. */
export interface StageOut {
  /** As dvc.yaml has it, with variables filled in: relative to the stage's working folder. */
  readonly definedAs: string;
  /** Relative to the repository, forward slashes. */
  readonly path: string;
  readonly kind: "out" | "metric" | "plot";
  /** False: it is not put into the cache, and belongs in Git. */
  readonly cache: boolean;
  /** True: it is not removed before the stage runs. */
  readonly persist: boolean;
}

export interface StageDep {
  readonly definedAs: string;
  readonly path: string;
}

/** Parameters of one file that a stage depends on. */
export interface StageParams {
  readonly definedAs: string;
  readonly path: string;
  /** Keys such as `train.epochs`; empty: the whole file. */
  readonly keys: readonly string[];
}

export interface Stage {
  readonly name: string;
  /** `train` in the dvc.yaml at the top, `sub/dvc.yaml:train` elsewhere. */
  readonly address: string;
  /** Address of the `foreach` or `matrix` that made it. */
  readonly group: string | undefined;
  /** Folder of its dvc.yaml, relative to the repository; "" for the top. */
  readonly dir: string;
  /** Where its commands run, relative to the repository; "" for the top. */
  readonly wdir: string;
  /** As the lock holds it. */
  readonly cmd: string | readonly string[];
  readonly deps: readonly StageDep[];
  readonly params: readonly StageParams[];
  readonly outs: readonly StageOut[];
  readonly frozen: boolean;
  readonly alwaysChanged: boolean;
  readonly desc: string | undefined;
}

/** A plot of a dvc.yaml: what `plots` at the top of the file says, or a stage's own `plots`. */
export interface PlotDefinition {
  /** A path, or a title where x and y name files. */
  readonly id: string;
  /** The folder that paths are relative to, relative to the repository. */
  readonly dir: string;
  readonly properties: Readonly<Record<string, YamlValue>>;
}

export interface Pipeline {
  /** dvc.yaml, relative to the repository. */
  readonly file: string;
  readonly stages: readonly Stage[];
  /** Paths relative to the repository. */
  readonly metrics: readonly string[];
  readonly params: readonly string[];
  readonly plots: readonly PlotDefinition[];
}
