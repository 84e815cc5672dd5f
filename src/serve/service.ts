import type { AddressInfo } from "node:net";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connectionBudget, limitConnections } from "../http/connection-limit.ts";
import { ServalError, toServalError } from "../errors/serval-error.ts";
import { DecoderProcesses } from "../image/decoder-processes.ts";
import { decoderProcessCount } from "../image/shared-decoder.ts";
import { createServiceMetrics } from "../monitor/metrics.ts";
import { monitoredModel, type MonitoredModel } from "../monitor/monitored-model.ts";
import { ServiceMonitor } from "../monitor/service-monitor.ts";
import { PredictionLog } from "../predictions/prediction-log.ts";
import type { Retention } from "../predictions/prediction-store.ts";
import type { LogLevel } from "./http/app.ts";
import type { ServeApp } from "./http/context.ts";
import { defaultHangMs } from "./inference/limits.ts";
import type { ServiceLog } from "./log/log-stream.ts";
import { ModelSlot, type ModelSource } from "./model/model-slot.ts";
import { defaultRules, type ServeRules } from "./http/rules.ts";
import { startPredictThread } from "./inference/predict-lane.ts";
import { readServable, ServedModel, type ServedModelOptions } from "./model/served-model.ts";
import { ServiceEvents } from "./service-events.ts";

export interface ServiceOptions
  extends
    Pick<ServeRules, "limits">,
    Partial<Omit<ServeRules, "limits">>,
    Omit<ServedModelOptions, "limits" | "thread" | "othersAfter" | "onLost" | "decoder"> {
  /** Bundle folder, as `resolveModel` finds it. */
  readonly modelDir: string;
  /** The registry's version of that bundle; default: the start of its digest. */
  readonly modelVersion?: string | undefined;
  /** Where later versions come from; without it the first one stays. */
  readonly source?: ModelSource | undefined;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** SQLite file of predictions and feedback; without it there is no feedback. With `predictionsUrl`, the file where they wait for it. */
  readonly predictionLogFile?: string | undefined;
  /** PostgreSQL that keeps them in place of the file. */
  readonly predictionsUrl?: string | undefined;
  /** MLflow, which the monitor's closed windows are logged to; without it they are kept with the predictions. */
  readonly trackingUri?: string | null | undefined;
  /** Default: once a minute. */
  readonly closeWindowsEveryMs?: number | undefined;
  /** How long predictions are kept; default: without a limit of age, up to a GiB. */
  readonly retention?: Retention | undefined;
  /** How long readiness fails before connections are refused, for load balancers to notice. */
  readonly drainMs?: number | undefined;
  readonly version?: string | undefined;
  readonly log?: { readonly level: LogLevel; readonly stream: Pick<ServiceLog, "write" | "close"> };
}

export interface Service {
  /** Such as http://127.0.0.1:8000, fit for a browser on this machine. */
  readonly url: string;
  readonly port: number;
  readonly slot: ModelSlot;
  /** The model that answers now. */
  readonly model: ServedModel;
  readonly app: ServeApp;
  /** Fails readiness, waits, stops accepting, answers what came before, ends the threads and the log. */
  close(): Promise<void>;
}

/** Costly images that wait for each decoder process: with one that takes its whole time, the last of more would not be answered in time. */
const waitingPerDecoder = 8;
/** The threads of the model, and all other requests, go first. */
const decoderNiceness = 5;

/** After listening: long enough for a first answer, short enough that a burst soon finds every thread. */
const settleMs = 250;
/** How often the log says that connections are closed because there are too many. */
const fullEveryMs = 60_000;

/**
 * Loads and checks the model, builds the app and listens. Throws what `loadServedModel` throws, and E_PORT_IN_USE.
 */
export async function startService(options: ServiceOptions): Promise<Service> {
  const { limits, access, abstain, basePath }: ServeRules = { ...defaultRules, ...options };
  const { host, port, version, log, predictionLogFile } = options;
  const events = new ServiceEvents();
  const decoder = startDecoder(options.workers, events);
  const modelOptions: ServedModelOptions = { ...options, decoder, onLost: (reason) => events.threadLost(reason) };
  const listening = Promise.withResolvers<void>();
  // Each thread costs a tenth of a second of a core to start. The first loads its libraries while this one reads the bundle,
  // and the model while this one builds the app; the others can wait until the first request is likely to be answered.
  const settled = listening.promise.then(async () => await delay(settleMs, undefined, { ref: false }));
  const thread = startPredictThread(limits.hangMs ?? defaultHangMs);
  const reading = readServable(options.modelDir, options.modelVersion);
  const importing = import("./http/app.ts");
  const starting = reading.then((servable) => new ServedModel(servable, { ...modelOptions, thread, othersAfter: settled }));
  const [started, imported] = await Promise.allSettled([starting, importing]);
  if (started.status === "rejected") {
    thread.end(toServalError(started.reason));
    await thread.exited;
    decoder.close();
    throw started.reason;
  }
  const model = started.value;
  const slot = new ModelSlot(model, {
    model: modelOptions,
    onSwap: (now, before) => events.modelSwapped(now, before),
    onRefused: (refusal) => events.modelRefused(refusal, slot.current.version),
  });
  const predictionLog = predictionLogFile === undefined ? undefined : openLog(predictionLogFile, options, events, settled);
  const monitor = predictionLogFile === undefined ? undefined : monitorOf(predictionLogFile, options, slot, events);
  const parts: ServiceParts = { slot, decoder, predictionLog, monitor, following: new AbortController(), draining: false };
  try {
    if (imported.status === "rejected") throw imported.reason;
    const metrics = createServiceMetrics({
      queueDepth: () => slot.depth + decoder.depth,
      decoderProcesses: () => decoder.processes,
      predictionsFolder: predictionLogFile && dirname(predictionLogFile),
      report: monitor && (async () => await monitor.report()),
    });
    events.countIn(metrics);
    metrics.setModel({ name: model.name, version: model.version, labels: model.bundle.manifest.labels });
    const rules = { limits, access, abstain, basePath };
    const draining = (): boolean => parts.draining;
    const building = imported.value.buildApp({ slot, rules, metrics, host, predictionLog, monitor, draining, version, log });
    const [app] = await Promise.all([building, model.ready]);
    events.writeTo(app.log);
    await leaveDescriptors(app);
    await app.listen({ host, port });
    listening.resolve();
    options.source?.follow(async (candidate) => await slot.offer(candidate), parts.following.signal);
    return runningService(app, parts, options);
  } catch (error) {
    await slot.close();
    decoder.close();
    await monitor?.close();
    await predictionLog?.close();
    throw listenError(error, host, port);
  }
}

/** What a service consists of beside its app. */
interface ServiceParts {
  readonly slot: ModelSlot;
  readonly decoder: DecoderProcesses;
  readonly predictionLog: PredictionLog | undefined;
  readonly monitor: ServiceMonitor | undefined;
  /** Ends the search for later versions. */
  readonly following: AbortController;
  draining: boolean;
}

function runningService(app: ServeApp, parts: ServiceParts, { host, drainMs = 0, log }: ServiceOptions): Service {
  const { port } = app.server.address() as AddressInfo;
  const { slot, decoder, predictionLog, monitor, following } = parts;
  return {
    url: `http://${urlHost(host)}:${port}`,
    port,
    slot,
    get model() {
      return slot.current;
    },
    app,
    async close() {
      parts.draining = true;
      following.abort();
      await delay(drainMs);
      await app.close();
      await slot.close();
      decoder.close();
      await monitor?.close();
      await predictionLog?.close();
      await log?.stream.close();
    },
  };
}

function startDecoder(workers: number | undefined, events: ServiceEvents): DecoderProcesses {
  const processes = decoderProcessCount(workers);
  return new DecoderProcesses({
    processes,
    maxWaiting: waitingPerDecoder * processes,
    niceness: decoderNiceness,
    onStart: () => events.decoderStarted(),
    onEnd: (reason) => events.decoderEnded(reason),
  });
}

function openLog(
  file: string,
  { predictionsUrl, retention }: ServiceOptions,
  events: ServiceEvents,
  after: Promise<unknown>,
): PredictionLog {
  return new PredictionLog(file, {
    url: predictionsUrl,
    retention,
    onWaiting: (count) => events.predictionsWait(count),
    onLost: (count) => events.predictionsLost(count),
    onTrouble: (message) => events.logTrouble(message),
    onRecovered: (message) => events.logRecovered(message),
    after,
  });
}

/** Reads where the predictions end up, not where they wait for that. */
function monitorOf(path: string, options: ServiceOptions, slot: ModelSlot, events: ServiceEvents): ServiceMonitor {
  const { predictionsUrl: url, trackingUri = null, closeWindowsEveryMs } = options;
  const known = new WeakMap<ServedModel, MonitoredModel>();
  const model = (): MonitoredModel => {
    const { current } = slot;
    const found = known.get(current) ?? monitoredModel(current.version, current.bundle, current.places);
    known.set(current, found);
    return found;
  };
  return new ServiceMonitor({
    path,
    url,
    trackingUri,
    closeEveryMs: closeWindowsEveryMs,
    model,
    onTrouble: (message) => events.logTrouble(message),
  });
}

/** Connections must not take the file descriptors that the service needs for its files. */
async function leaveDescriptors(app: ServeApp): Promise<void> {
  const max = await connectionBudget();
  if (max === undefined) return;
  const warn = (): void => {
    app.log.warn(`${max} connections are open, as many as the limit on file descriptors allows: idle ones are closed for new ones`);
  };
  limitConnections(app.server, max, atMostEvery(fullEveryMs, warn));
}

function atMostEvery(everyMs: number, call: () => void): () => void {
  let last = -Infinity;
  return () => {
    if (performance.now() - last < everyMs) return;
    last = performance.now();
    call();
  };
}

function listenError(error: unknown, host: string, port: number): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "EADDRINUSE") return new ServalError("E_PORT_IN_USE", `Port ${port} of ${host} is taken.`, { cause: error });
  if (code === "EACCES") {
    return new ServalError("E_PORT_IN_USE", `Port ${port} of ${host} may not be used.`, {
      cause: error,
      hint: "Ports under 1024 need rights that a service should not have: choose another with --port.",
    });
  }
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return new ServalError("E_USAGE", `${host} is not an address of this machine.`, {
      cause: error,
      hint: "Use 127.0.0.1 for this machine only, or 0.0.0.0 for every network that it is on.",
    });
  }
  return error;
}

/** An address to listen on as an address to open: 0.0.0.0 is every one of this machine's, so also the local one. */
function urlHost(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "127.0.0.1";
  return host.includes(":") ? `[${host}]` : host;
}
