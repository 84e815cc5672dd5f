import { statfs } from "node:fs/promises";
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import { decoderEnds, type DecoderEnd } from "../image/decoder-process.ts";
import { reportGauges } from "./report-gauges.ts";
import type { MonitorReport } from "./report.ts";

/** Where the time of a prediction goes: decoding and scaling, waiting for the model, the model itself. */
export type InferencePhase = (typeof inferencePhases)[number];
const inferencePhases = ["preprocess", "queue", "model"] as const;

/** What a service tells Prometheus. Every label is bounded: no address, file name or unknown path becomes a series. */
export interface ServiceMetrics {
  readonly contentType: string;
  /** The text that Prometheus scrapes. */
  render(): Promise<string>;
  countRequest(request: { readonly route: string; readonly method: string; readonly status: number; readonly seconds: number }): void;
  /** Without a label: the service abstained. */
  countPrediction(prediction: { readonly label: string | null; readonly confidence: number; readonly modelVersion: string }): void;
  /** The picture was like none of the training, whether or not the service abstains. */
  countUnknownInput(modelVersion: string): void;
  observePhase(phase: InferencePhase, seconds: number): void;
  /** A new version was put in the place of the old one, or was not good enough for it. */
  countSwap(result: "swapped" | "refused"): void;
  /** Replaces the model that was reported before. */
  setModel(model: { readonly name: string; readonly version: string; readonly labels: readonly string[] }): void;
  countError(code: string): void;
  /** A decoder process was started, for an image that is costly to decode. */
  countDecoderStart(): void;
  /** Predictions that wait to be stored, and that never will be. */
  setWaitingPredictions(count: number): void;
  countLostPredictions(count: number): void;
  /** Such a process was ended by its image. */
  countDecoderEnd(reason: DecoderEnd): void;
}

/** Route label of every request that no route answers. */
export const unknownRoute = "unknown";
/** Label of a prediction without one. No class can be called so by accident: labels are folder names. */
const abstained = "<abstained>";

const requestBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const phaseBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const confidenceBuckets = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1];

// Prometheus takes a series that appears with a value for one that was always there: what is counted before the first
// scrape would be no increase. So all labels that are known beforehand start at 0.

/** Metrics in their own registry, so that two services in one process do not add up. The names are a contract. */
export function createServiceMetrics({
  queueDepth,
  decoderProcesses = () => 0,
  predictionsFolder,
  report,
}: {
  readonly queueDepth: () => number;
  readonly decoderProcesses?: () => number;
  /** Where predictions are stored, or wait for a database; without it there is no gauge of its disk. */
  readonly predictionsFolder?: string | undefined;
  /** How the model does; without it there are no gauges of that. */
  readonly report?: (() => Promise<MonitorReport>) | undefined;
}): ServiceMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  if (predictionsFolder !== undefined) measureDisk(registers, predictionsFolder);
  const refresh = report && reportGauges(registers, report);
  return {
    contentType: registry.contentType,
    render: async () => {
      await refresh?.();
      return await registry.metrics();
    },
    ...requestMetrics(registers),
    ...predictionMetrics(registers, queueDepth),
    ...storeMetrics(registers),
    ...swapMetrics(registers),
    ...decoderMetrics(registers, decoderProcesses),
  };
}

function requestMetrics(registers: Registry[]): Pick<ServiceMetrics, "countRequest" | "countError"> {
  const requests = new Counter({
    name: "serval_http_requests_total",
    help: "HTTP requests by route, method and status; status 499 is a client that hung up.",
    labelNames: ["route", "method", "status"],
    registers,
  });
  const durations = new Histogram({
    name: "serval_http_request_duration_seconds",
    help: "Time from the first byte of a request to the last of its answer.",
    labelNames: ["route", "method"],
    buckets: requestBuckets,
    registers,
  });
  const errors = new Counter({ name: "serval_errors_total", help: "Errors by code.", labelNames: ["code"], registers });
  return {
    countRequest({ route, method, status, seconds }) {
      requests.inc({ route, method, status });
      durations.observe({ route, method }, seconds);
    },
    countError: (code) => errors.inc({ code }),
  };
}

function predictionMetrics(
  registers: Registry[],
  queueDepth: () => number,
): Pick<ServiceMetrics, "countPrediction" | "countUnknownInput" | "observePhase" | "setModel"> {
  const predictions = new Counter({
    name: "serval_predictions_total",
    help: "Predictions by label and model version.",
    labelNames: ["label", "model_version"],
    registers,
  });
  const unknown = new Counter({
    name: "serval_unknown_inputs_total",
    help: "Predictions for pictures that are like none of the training, also where the service does not abstain.",
    labelNames: ["model_version"],
    registers,
  });
  const confidences = new Histogram({
    name: "serval_prediction_confidence",
    help: "Probability of the label that was answered.",
    buckets: confidenceBuckets,
    registers,
  });
  const phases = new Histogram({
    name: "serval_inference_duration_seconds",
    help: "Time of a prediction by phase: preprocess, queue (waiting for the model), model.",
    labelNames: ["phase"],
    buckets: phaseBuckets,
    registers,
  });
  for (const phase of inferencePhases) phases.zero({ phase });
  measure(registers, "serval_queue_depth", "Predictions that are waiting or running.", queueDepth);
  const modelInfo = new Gauge({
    name: "serval_model_info",
    help: "1 for the model that answers.",
    labelNames: ["name", "version"],
    registers,
  });
  return {
    /** Without a label: the service abstained. */
    countPrediction({ label, confidence, modelVersion }) {
      predictions.inc({ label: label ?? abstained, model_version: modelVersion });
      confidences.observe(confidence);
    },
    countUnknownInput: (modelVersion) => unknown.inc({ model_version: modelVersion }),
    observePhase: (phase, seconds) => phases.observe({ phase }, seconds),
    setModel({ name, version, labels }) {
      modelInfo.reset();
      modelInfo.set({ name, version }, 1);
      unknown.inc({ model_version: version }, 0);
      for (const label of labels) predictions.inc({ label, model_version: version }, 0);
    },
  };
}

function storeMetrics(registers: Registry[]): Pick<ServiceMetrics, "setWaitingPredictions" | "countLostPredictions"> {
  const waiting = new Gauge({
    name: "serval_predictions_waiting",
    help: "Predictions that could not be stored yet, and will be.",
    registers,
  });
  waiting.set(0);
  const lost = new Counter({
    name: "serval_predictions_lost_total",
    help: "Predictions that were answered and could not be stored.",
    registers,
  });
  return { setWaitingPredictions: (count) => waiting.set(count), countLostPredictions: (count) => lost.inc(count) };
}

function swapMetrics(registers: Registry[]): Pick<ServiceMetrics, "countSwap"> {
  const swaps = new Counter({
    name: "serval_model_swaps_total",
    help: "New versions that were put in the place of the old one, and that were refused.",
    labelNames: ["result"],
    registers,
  });
  for (const result of ["swapped", "refused"]) swaps.inc({ result }, 0);
  return { countSwap: (result) => swaps.inc({ result }) };
}

function decoderMetrics(
  registers: Registry[],
  decoderProcesses: () => number,
): Pick<ServiceMetrics, "countDecoderStart" | "countDecoderEnd"> {
  measure(registers, "serval_decoder_processes", "Processes for images that are costly to decode.", decoderProcesses);
  const starts = new Counter({
    name: "serval_decoder_starts_total",
    help: "Processes that were started for images that are costly to decode.",
    registers,
  });
  const kills = new Counter({
    name: "serval_decoder_kills_total",
    help: "Processes of these that ended while they decoded: by the limit of time, by that of memory, by a crash, or because the client was gone.",
    labelNames: ["reason"],
    registers,
  });
  for (const reason of decoderEnds) kills.inc({ reason }, 0);
  return { countDecoderStart: () => starts.inc(), countDecoderEnd: (reason) => kills.inc({ reason }) };
}

/** A gauge that is read when Prometheus asks. The registry is the only one that holds it. */
function measure(registers: Registry[], name: string, help: string, read: () => number): void {
  void new Gauge({
    name,
    help,
    registers,
    collect() {
      this.set(read());
    },
  });
}

/** The share of the disk of a folder that is free for this process; no value where the folder is not there. */
function measureDisk(registers: Registry[], folder: string): void {
  void new Gauge({
    name: "serval_predictions_disk_free_share",
    help: "Free share of the disk where predictions are stored, or wait for their database.",
    registers,
    async collect() {
      const disk = await statfs(folder).catch(() => undefined);
      if (disk === undefined || disk.blocks === 0) this.remove();
      else this.set(disk.bavail / disk.blocks);
    },
  });
}
