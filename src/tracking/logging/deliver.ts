import { ServalError } from "../../errors/serval-error.ts";
import type { TrackingClient } from "../client/tracking-client.ts";
import type { LoggedModel, MetricPoint, RunInfo } from "../client/wire.ts";
import type { KeyValue } from "../key-value.ts";
import type { MetricsEntry, ModelEntry, RunEntry, Spool, SpoolEntry, SpooledEntry } from "./spool.ts";

/** Finds a run again on the server, so that a lost answer or a resumed training makes no second one. */
const runTag = "serval.run";
/** On logged models and registered versions: which bundle it is. */
const digestTag = "serval.digest";
/** The file that makes a folder a model for MLflow; the server's ids are added to it. */
const modelFile = "MLmodel";

/**
 * Sends the entries of one spool in order and remembers how far it came. A new process begins at the first entry again:
 * MLflow keeps a metric's point once however often it is sent, and the rest is overwritten by the same values.
 */
export class Delivery {
  readonly #client: TrackingClient;
  readonly #spool: Spool;
  readonly #onRefused: (error: ServalError) => void;
  /** Bytes of the spool that are delivered. */
  #position = 0;
  #run: RunInfo | undefined;

  /** `onRefused` hears of files and inputs that the server will never take; the rest of the run is still sent. */
  constructor(client: TrackingClient, spool: Spool, onRefused: (error: ServalError) => void) {
    this.#client = client;
    this.#spool = spool;
    this.#onRefused = onRefused;
  }

  get done(): boolean {
    return this.#position >= this.#spool.size;
  }

  /** The run on the server, once it is known. */
  get run(): RunInfo | undefined {
    return this.#run;
  }

  /** Sends what there is. Throws what the client throws; the entry that failed is the next one to be sent. */
  async drain(signal: AbortSignal): Promise<void> {
    for (let entries = await this.#spool.read(this.#position); entries.length > 0; entries = await this.#spool.read(this.#position)) {
      for (let i = 0; i < entries.length;) {
        const metrics = metricsFrom(entries, i);
        const { entry } = entries[i] as SpooledEntry;
        if (metrics.length > 0) await this.#sendMetrics(metrics, signal);
        else await this.send(entry, signal);
        i += Math.max(metrics.length, 1);
        this.#position = (entries[i - 1] as SpooledEntry).next;
      }
    }
  }

  /** Sends one entry, whether it is in the spool or could not be written there. */
  async send(entry: SpoolEntry, signal: AbortSignal): Promise<void> {
    if (entry.type === "run") this.#run = await this.#openRun(entry, signal);
    else if (this.#run !== undefined) await this.#sendTo(this.#run, entry, signal);
  }

  async #openRun(entry: RunEntry, signal: AbortSignal): Promise<RunInfo> {
    const experimentId = this.#run?.experimentId ?? (await this.#client.ensureExperiment(entry.experiment, signal));
    const tag = { key: runTag, value: entry.run };
    const known = this.#run ?? (await this.#client.findRun(experimentId, tag, signal));
    if (known !== undefined) {
      await this.#client.updateRun(known.runId, "RUNNING", undefined, signal);
      return known;
    }
    const tags = [tag, ...pairs(entry.tags)];
    return await this.#client.createRun({ experimentId, name: entry.run, startTime: entry.at, tags }, signal);
  }

  /** Many entries in one request: a training may log several times a second. */
  async #sendMetrics(entries: readonly MetricsEntry[], signal: AbortSignal): Promise<void> {
    if (this.#run !== undefined)
      await this.#client.logBatch(this.#run.runId, { metrics: entries.flatMap((entry) => points(entry)) }, signal);
  }

  async #sendTo(run: RunInfo, entry: Exclude<SpoolEntry, RunEntry>, signal: AbortSignal): Promise<void> {
    switch (entry.type) {
      case "params":
        return await this.#client.logBatch(run.runId, { params: pairs(entry.params) }, signal);
      case "tags":
        return await this.#client.logBatch(run.runId, { tags: pairs(entry.tags) }, signal);
      case "metrics":
        return await this.#sendMetrics([entry], signal);
      case "input":
        return void (await this.#unlessRefused(async () => await this.#client.logInput(run.runId, entry.input, signal)));
      case "artifact":
        return void (await this.#sendFile(run.artifactUri, entry.path, entry.path, signal));
      case "model":
        return await this.#sendModel(run, entry, signal);
      case "end":
        return await this.#client.updateRun(run.runId, entry.status, entry.at, signal);
    }
  }

  async #sendModel(run: RunInfo, entry: ModelEntry, signal: AbortSignal): Promise<void> {
    const model = await this.#openModel(run, entry, signal);
    if (model === null) {
      for (const file of entry.files) {
        const path = `${entry.folder}/${file}`;
        await this.#sendFile(run.artifactUri, path, path, signal, file === modelFile ? idLines(run, undefined) : "");
      }
      return await this.#client.logBatch(run.runId, { metrics: points(entry) }, signal);
    }
    await this.#client.logBatch(run.runId, { metrics: points(entry, { modelId: model.modelId, dataset: entry.dataset }) }, signal);
    if (model.status === "READY") return;
    // Last but one, because a server counts an output as often as it is told: what fails before is tried again.
    let whole = true;
    for (const file of entry.files) {
      const more = file === modelFile ? idLines(run, model) : "";
      whole = (await this.#sendFile(model.artifactUri, file, `${entry.folder}/${file}`, signal, more)) && whole;
    }
    // A model that lacks a file is not ready: who registers it later uploads its files then.
    await this.#client.logOutput(run.runId, model.modelId, entry.step, signal);
    if (whole) await this.#client.finalizeLoggedModel(model.modelId, signal);
  }

  /** The logged model of this bundle in this run, made where it is not there; null where the server has no such thing. */
  async #openModel(run: RunInfo, entry: ModelEntry, signal: AbortSignal): Promise<LoggedModel | null> {
    const { experimentId, runId } = run;
    const { name, digest, params } = entry;
    // Best and final may be one bundle, and two runs may make the same: the digest alone would mix them up.
    const tag = { key: "serval.origin", value: `${runId}/${name}/${digest.slice(0, 12)}` };
    const known = await this.#client.findLoggedModel(experimentId, tag, signal);
    if (known !== undefined) return known;
    const tags = [tag, { key: digestTag, value: digest }, ...pairs(entry.tags)];
    return await this.#client.createLoggedModel({ experimentId, name, sourceRunId: runId, tags, params: pairs(params) }, signal);
  }

  /** False where the server refused the file. One that is not kept any more was sent before. */
  async #sendFile(root: string, path: string, kept: string, signal: AbortSignal, more = ""): Promise<boolean> {
    const data = await this.#spool.openKeptFile(kept);
    if (data === undefined) return true;
    const body = more === "" ? data : new Blob([data, more]);
    const sent = await this.#unlessRefused(async () => await this.#client.uploadArtifact(root, path, body, signal));
    if (sent) await this.#spool.dropKeptFile(kept);
    return sent;
  }

  /** A file or an input that the server will never take does not keep the rest of the run from it. False where it was refused. */
  async #unlessRefused(send: () => Promise<void>): Promise<boolean> {
    try {
      await send();
      return true;
    } catch (error) {
      if (!(error instanceof ServalError) || error.code !== "E_TRACKING_REFUSED") throw error;
      this.#onRefused(error);
      return false;
    }
  }
}

/** The run of metrics entries that begins at `from`. */
function metricsFrom(entries: readonly SpooledEntry[], from: number): MetricsEntry[] {
  const metrics: MetricsEntry[] = [];
  for (let i = from; i < entries.length; i++) {
    const entry = entries[i]?.entry;
    if (entry?.type !== "metrics") break;
    metrics.push(entry);
  }
  return metrics;
}

function points(
  { at, step, metrics }: Pick<MetricsEntry, "at" | "step" | "metrics">,
  of: Pick<MetricPoint, "modelId" | "dataset"> = {},
): MetricPoint[] {
  return Object.entries(metrics).map(([key, value]) => ({ key, value: Number(value), timestamp: at, step, ...of }));
}

/** The lines of an MLmodel file that only the server knows; the file is YAML, so they may be at its end. */
function idLines(run: RunInfo, model: LoggedModel | undefined): string {
  const lines = [`run_id: ${run.runId}`, ...(model ? [`model_id: ${model.modelId}`, `artifact_path: ${model.artifactUri}`] : [])];
  return `${lines.join("\n")}\n`;
}

function pairs(values: Readonly<Record<string, string>>): KeyValue[] {
  return Object.entries(values).map(([key, value]) => ({ key, value }));
}
