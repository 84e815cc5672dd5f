/** The public API. What is not exported here may change without notice. */
export type { ErrorSpec } from "./errors/error-spec.ts";
export { ERRORS, type ErrorCode } from "./errors/error-table.ts";
export { ServalError } from "./errors/serval-error.ts";

// The use cases: what each verb of the command line does, as a function.
export { checkLabels, type CheckLabelsOptions, type LabelCheck } from "./workflows/data/check-labels.ts";
export { checkPictures, type PictureCheck, type PoorPicture } from "./workflows/data/check-pictures.ts";
export { correctData, type CorrectDataOptions, type CorrectReport } from "./workflows/data/correct-data.ts";
export { importData, type ImportOptions } from "./workflows/data/import-data.ts";
export { prepareData, type PrepareDataOptions } from "./workflows/data/prepare-data.ts";
export { addBackbone, type AddBackboneOptions } from "./workflows/model/add-backbone.ts";
export { evaluateModel, type EvaluateModelOptions, type EvaluateReport } from "./workflows/model/evaluate-model.ts";
export { exportModel, type ExportedFile, type ExportModelOptions } from "./workflows/model/export-model.ts";
export { refitModel, type RefitModelOptions, type RefittedModel } from "./workflows/model/refit-model.ts";
export { findRate, type FindRateOptions, type RateReport } from "./workflows/model/find-rate.ts";
export {
  loadClassifier,
  type Classification,
  type ClassifyOptions,
  type LoadClassifierOptions,
  type LoadedClassifier,
} from "./workflows/model/load-classifier.ts";
export { predictImages, streamPredictions, type PredictedImage, type PredictImagesOptions } from "./workflows/model/predict-images.ts";
export { trainModel, type TrainModelOptions, type TrainReport } from "./workflows/model/train-model.ts";
export { checkoutData, type CheckoutDataOptions, type CheckoutReport } from "./workflows/pipeline/checkout-data.ts";
export { findPullFailure, pullData, type PullDataOptions } from "./workflows/pipeline/pull-data.ts";
export { pushData, type PushDataOptions } from "./workflows/pipeline/push-data.ts";
export { reproducePipeline, type ReproducePipelineOptions } from "./workflows/pipeline/reproduce-pipeline.ts";
export { versionData, type VersionDataOptions } from "./workflows/pipeline/version-data.ts";
export { buildOwnModel, type OwnModel, type OwnModelEvent, type OwnModelOptions } from "./workflows/project/build-own-model.ts";
export { initProject, type InitOptions, type InitResult } from "./workflows/project/init-project.ts";
export { retrainModel, type RetrainModelOptions, type RetrainReport } from "./workflows/project/retrain-model.ts";
export { makeSampleModel, type SampleModelOptions } from "./workflows/project/sample-model.ts";
export { listModels, showModel, type ModelList, type ShowModelOptions } from "./workflows/registry/list-models.ts";
export { promoteModel, type PromoteModelOptions, type PromotionReport } from "./workflows/registry/promote-model.ts";
export { registerModel, type RegisterModelOptions, type RegisterReport } from "./workflows/registry/register-model.ts";
export { releaseModel, type ReleasedModel, type ReleaseModelOptions } from "./workflows/registry/release-model.ts";
export { rollbackModel, type RollbackModelOptions, type RollbackReport } from "./workflows/registry/rollback-model.ts";
export { traceModel, type Lineage, type TraceModelOptions } from "./workflows/registry/trace-model.ts";
export { silentReporter, type Progress, type Reporter, type UseCaseOptions } from "./workflows/reporter.ts";
export { scorePictures, type ScorePicturesOptions, type ScoreReport } from "./workflows/scoring/score-pictures.ts";
export { deployService, type DeployServiceOptions } from "./workflows/service/deploy-service.ts";
export { exportPredictions, type ExportedPredictions, type ExportPredictionsOptions } from "./workflows/service/export-predictions.ts";
export { importPredictions, type ImportedPredictions, type ImportPredictionsOptions } from "./workflows/service/import-predictions.ts";
export { monitorService, type MonitorServiceOptions } from "./workflows/service/monitor-service.ts";
export { serveModel, type ServeModelOptions } from "./workflows/service/serve-model.ts";
export { smokeService, type SmokeServiceOptions } from "./workflows/service/smoke-service.ts";

// The parts that they are made of.
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
