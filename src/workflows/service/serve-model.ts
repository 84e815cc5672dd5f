import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { loadSettings, type Settings } from "../../config/settings.ts";
import { readApiKeys } from "../../serve/http/api-keys.ts";
import { ServiceLog } from "../../serve/log/log-stream.ts";
import { followFolder } from "../../serve/model/folder-source.ts";
import { followRegistry } from "../../serve/model/registry-source.ts";
import { startService, type Service } from "../../serve/service.ts";
import { findModel } from "../find-model.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";

export interface ServeModelOptions extends Omit<UseCaseOptions, "signal"> {
  /** A bundle folder, its model.onnx, a released model's name or a `models:/` address; default: SERVAL_MODEL, else the released model, else artifacts/best. */
  readonly model?: string | undefined;
  /** Put over what the environment says. */
  readonly settings?: Partial<Settings> | undefined;
}

const queuePerWorker = 32;

/** Starts the service that the settings ask for; the JSON log goes to stdout and to SERVAL_LOG_FILE. `close()` ends it. */
export async function serveModel({ cwd, model, reporter = silentReporter, ...options }: ServeModelOptions): Promise<Service> {
  const settings = { ...loadSettings(), ...options.settings };
  const wanted = model ?? settings.model ?? undefined;
  const { dir, registered } = await findModel(wanted, { cwd, reporter, lastGood: true });
  const { host, port, maxBodyBytes, maxPixels, maxDecodeMs, requestTimeoutMs, uploadTimeoutMs, modelPollMs, apiKeysFile } = settings;
  const { maxBatchSize, maxDelayMs, rateLimit, proxies, admin, hosts, peers, corsOrigins, basePath, abstain, drainMs } = settings;
  const workers = settings.workers || availableParallelism();
  // What waits longer than half a second is hardly worth its answer; a thread answers some sixty in a second.
  const queueLimit = settings.queueLimit || queuePerWorker * workers;
  const keys = apiKeysFile === null ? undefined : await readApiKeys(resolve(cwd, apiKeysFile));
  const file = settings.logFile === null ? null : resolve(cwd, settings.logFile);
  const stream = new ServiceLog(process.stdout, file, (message) => reporter.warn(message));
  return await startService({
    modelDir: dir,
    modelVersion: registered?.version,
    source: modelPollMs === 0 ? undefined : registered ? followRegistry(registered.again, modelPollMs) : followFolder(dir, modelPollMs),
    host,
    port,
    limits: { maxBodyBytes, maxPixels, maxDecodeMs, queueLimit, requestTimeoutMs, uploadTimeoutMs },
    workers,
    maxBatchSize,
    maxDelayMs,
    access: { allowedHosts: listed(hosts), keys, admin, rateLimitPerMinute: rateLimit, proxies, corsOrigins: listed(corsOrigins) },
    abstain: { whenUnsure: abstain },
    peers: listed(peers),
    basePath,
    drainMs,
    predictionLogFile: join(resolve(cwd, settings.stateDir), "predictions.db"),
    log: { level: settings.logLevel, stream },
  });
}

function listed(text: string | null): readonly string[] {
  return (text ?? "").split(",").flatMap((item) => item.trim() || []);
}
