/** The public API. What is not exported here may change without notice. */
export type { ErrorSpec } from "./errors/error-spec.ts";
export { ERRORS, type ErrorCode } from "./errors/error-table.ts";
export { ServalError } from "./errors/serval-error.ts";

export { loadParams, paramsHash, type Params } from "./config/params.ts";
export { loadSettings, type Settings } from "./config/settings.ts";

export { ingest, type IngestOptions, type IngestReport } from "./data/ingest.ts";
export { prepareShards, type PrepareOptions, type PrepareReport } from "./data/prepare.ts";
export { openShards, type Shards, type Split, type SplitRows } from "./data/shards.ts";
export { openSource } from "./data/sources/open-source.ts";
export type { Source, SourceEntry } from "./data/sources/source.ts";

export type { ImageFormat, ImageLimits } from "./image/check-image.ts";
export type { ImageInspection } from "./image/decode.ts";
export { inspectImage } from "./image/inspect-image.ts";
export { type Preprocess, centerCrop } from "./image/preprocess.ts";
export { preprocessImage } from "./image/preprocess-image.ts";

export { trainInThread } from "./train/training-thread.ts";
export type { TrainConfig, TrainEvent, TrainJob, TrainOutcome } from "./train/train-job.ts";
export { exportBundle, type ExportInput } from "./export/export.ts";
export { evaluateBundle, evaluateSource, type EvaluateOptions, type Evaluation } from "./evaluate/evaluate.ts";
export { computeMetrics, type ClassMetrics, type Metrics } from "./evaluate/metrics.ts";

export { copyBundle, loadBundle, writeBundle, type Bundle, type BundleContent, type BundleManifest } from "./model/bundle.ts";
export { parseSafetensors, type Safetensor, type SafetensorsFile } from "./model/safetensors.ts";
export { startInference, type Inference, type InferenceOptions, type InferenceResult } from "./runtime/inference.ts";

export { startService, type Service, type ServiceOptions } from "./serve/service.ts";
