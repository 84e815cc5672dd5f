import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { connectionBudget, limitConnections } from "../http/connection-limit.ts";
import { ServalError, toServalError } from "../errors/serval-error.ts";
import { DecoderProcesses } from "../image/decoder-processes.ts";
import { decoderProcessCount } from "../image/shared-decoder.ts";
import { createServiceMetrics, type ServiceMetrics } from "../monitor/metrics.ts";
import { PredictionLog } from "../monitor/prediction-log.ts";
import type { LogLevel } from "./http/app.ts";
import type { ServeApp } from "./http/context.ts";
import { defaultHangMs } from "./inference/limits.ts";
import type { ServiceLog } from "./log/log-stream.ts";
import { ModelSlot, type ModelSource } from "./model/model-slot.ts";
import { defaultRules, type ServeRules } from "./http/rules.ts";
import { startPredictThread } from "./inference/predict-lane.ts";
import { readServable, ServedModel, type ServedModelOptions } from "./model/served-model.ts";

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
  /** SQLite file of predictions and feedback; without it there is no feedback. */
  readonly predictionLogFile?: string | undefined;
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
  const { host, port, version, log, drainMs = 0, predictionLogFile } = options;
  const { limits, access = defaultRules.access, abstain = defaultRules.abstain, peers = defaultRules.peers } = options;
  // Known once the app is built; nothing can happen to the model before.
  let logger: ServeApp["log"] | undefined;
  let metrics: ServiceMetrics | undefined;
  const processes = decoderProcessCount(options.workers);
  const decoder = new DecoderProcesses({
    processes,
    maxWaiting: waitingPerDecoder * processes,
    niceness: decoderNiceness,
    onStart: () => metrics?.countDecoderStart(),
    onEnd(reason) {
      logger?.warn({ reason }, "a decoder process was ended by its image");
      metrics?.countDecoderEnd(reason);
    },
  });
  const modelOptions: ServedModelOptions = {
    ...options,
    decoder,
    onLost: (reason) => {
      logger?.error({ code: reason.code }, reason.message);
      metrics?.countError(reason.code);
    },
  };
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
  const predictionLog =
    predictionLogFile === undefined
      ? undefined
      : new PredictionLog(predictionLogFile, {
          onTrouble: (message) => logger?.error({ code: "E_PREDICTION_LOG" }, message),
          onRecovered: (message) => logger?.info(message),
          after: settled,
        });
  let draining = false;
  const model = started.value;
  const slot = new ModelSlot(model, {
    model: modelOptions,
    onSwap(now, before) {
      metrics?.countSwap("swapped");
      metrics?.setModel({ name: now.name, version: now.version, labels: now.bundle.manifest.labels });
      logger?.info({ model: now.name, version: now.version, before: before.version }, "model swapped");
    },
    onRefused({ name, version, code, message }) {
      metrics?.countSwap("refused");
      metrics?.countError(code);
      logger?.error({ model: name, version, code, serving: slot.current.version }, `model refused: ${message}`);
    },
  });
  const following = new AbortController();
  try {
    if (imported.status === "rejected") throw imported.reason;
    metrics = createServiceMetrics(
      () => slot.depth + decoder.depth,
      () => decoder.processes,
    );
    metrics.setModel({ name: slot.current.name, version: slot.current.version, labels: slot.current.bundle.manifest.labels });
    const building = imported.value.buildApp({
      slot,
      rules: { limits, access, abstain, peers },
      metrics,
      host,
      predictionLog,
      draining: () => draining,
      version,
      log,
    });
    const [app] = await Promise.all([building, model.ready]);
    logger = app.log;
    await leaveDescriptors(app);
    await app.listen({ host, port });
    listening.resolve();
    options.source?.follow(async (candidate) => await slot.offer(candidate), following.signal);
    const actual = (app.server.address() as AddressInfo).port;
    return {
      url: `http://${urlHost(host)}:${actual}`,
      port: actual,
      slot,
      get model() {
        return slot.current;
      },
      app,
      async close() {
        draining = true;
        following.abort();
        await delay(drainMs);
        await app.close();
        await slot.close();
        decoder.close();
        await predictionLog?.close();
        await log?.stream.close();
      },
    };
  } catch (error) {
    await slot.close();
    decoder.close();
    await predictionLog?.close();
    throw listenError(error, host, port);
  }
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
