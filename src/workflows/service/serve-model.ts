import { availableParallelism } from "node:os";
import { join, relative, resolve, sep } from "node:path";
import { retiredVariables } from "../../config/retired-variables.ts";
import { loadSettings, type Settings } from "../../config/settings.ts";
import { ServalError } from "../../errors/serval-error.ts";
import { cardFile } from "../../model/manifest.ts";
import { releasedModels } from "../../model/resolve-model.ts";
import { finalModelDir, trainedModelDir } from "../../paths.ts";
import { readApiKeys } from "../../serve/http/api-keys.ts";
import { ServiceLog } from "../../serve/log/log-stream.ts";
import { followFolder } from "../../serve/model/folder-source.ts";
import { followRegistry } from "../../serve/model/registry-source.ts";
import { startService, type Service } from "../../serve/service.ts";
import { findModel } from "../find-model.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";
import { predictionPlace } from "./prediction-place.ts";

export interface ServeModelOptions extends Omit<UseCaseOptions, "signal"> {
  /** A bundle folder, its model.onnx, a released model's name or a `models:/` address; default: SERVAL_MODEL, else the released model (of several the one of model.name), else artifacts/best. */
  readonly model?: string | undefined;
  /** Serves what replaces a trained model too. Released and registered models are followed without it. */
  readonly follow?: boolean | undefined;
  /** Put over what the environment says. */
  readonly settings?: Partial<Settings> | undefined;
}

const queuePerWorker = 32;

/** Starts the service that the settings ask for; the JSON log goes to stdout and to SERVAL_LOG_FILE. `close()` ends it. */
export async function serveModel({
  cwd,
  model,
  follow = false,
  reporter = silentReporter,
  ...options
}: ServeModelOptions): Promise<Service> {
  const settings = { ...loadSettings(), ...options.settings };
  const wanted = model ?? settings.model ?? undefined;
  if (follow && settings.modelPollMs === 0) {
    throw new ServalError("E_USAGE", "--follow: SERVAL_MODEL_POLL_MS is 0, so the service never looks for another model.");
  }
  const { dir, registered } = await findModel(wanted, { cwd, reporter, lastGood: true });
  const pinned = isTrained(dir);
  if (pinned) reporter.warn(describePinned(dir, wanted === undefined ? await releasedModels(cwd) : undefined, { cwd, follow }));
  const { host, port, maxBodyBytes, maxPixels, maxDecodeMs, requestTimeoutMs, uploadTimeoutMs, modelPollMs, apiKeysFile } = settings;
  const { maxBatchSize, maxDelayMs, rateLimit, proxies, admin, hosts, corsOrigins, basePath, abstain, drainMs } = settings;
  const workers = settings.workers || availableParallelism();
  // What waits longer than half a second is hardly worth its answer; a thread answers some sixty in a second.
  const queueLimit = settings.queueLimit || queuePerWorker * workers;
  const keys = apiKeysFile === null ? undefined : await readApiKeys(resolve(cwd, apiKeysFile));
  const file = settings.logFile === null ? null : resolve(cwd, settings.logFile);
  const place = await predictionPlace(cwd, settings);
  for (const warning of retiredVariables()) reporter.warn(warning);
  const stream = new ServiceLog(process.stdout, file, (message) => reporter.warn(message));
  const service = await startService({
    modelDir: dir,
    modelVersion: registered?.version,
    source:
      modelPollMs === 0 || (pinned && !follow)
        ? undefined
        : registered
          ? followRegistry(registered.again, modelPollMs)
          : followFolder(dir, modelPollMs),
    host,
    port,
    limits: { maxBodyBytes, maxPixels, maxDecodeMs, queueLimit, requestTimeoutMs, uploadTimeoutMs },
    workers,
    maxBatchSize,
    maxDelayMs,
    access: { allowedHosts: listed(hosts), keys, admin, rateLimitPerMinute: rateLimit, proxies, corsOrigins: listed(corsOrigins) },
    abstain: { whenUnsure: abstain },
    basePath,
    drainMs,
    predictionLogFile: place.file,
    predictionsUrl: place.url,
    trackingUri: settings.mlflowTrackingUri,
    retention: { keepDays: settings.predictionsKeepDays, maxBytes: settings.predictionsMaxBytes },
    log: { level: settings.logLevel, stream },
  });
  const { bundle, space } = service.model;
  const { name, abstainBelow } = bundle.manifest;
  if (abstain && abstainBelow === null) {
    const answers = space?.outliers ? "all pictures that are like those of its training" : "every picture";
    reporter.warn(
      `SERVAL_ABSTAIN is on, but ${name} answers ${answers}: it has no confidence below which it abstains. Its ${cardFile} says why.`,
    );
  }
  return service;
}

/** Whether training writes this folder: then what lies in it is an experiment, and the next one replaces it. */
function isTrained(dir: string): boolean {
  return [trainedModelDir, finalModelDir].some((trained) => dir.endsWith(join(sep, trained)));
}

/** What is served, and what will become of it. `released`: the models that it was chosen before. */
function describePinned(
  dir: string,
  released: readonly string[] | undefined,
  { cwd, follow }: { readonly cwd: string; readonly follow: boolean },
): string {
  const inside = relative(cwd, dir);
  const folder = inside.startsWith("..") ? dir : inside;
  const why =
    released === undefined
      ? "Serving"
      : released.length === 0
        ? "No model is released: serving"
        : `Several models are released (${released.join(", ")}), and model.name of params.yaml names none of them: serving`;
  if (follow) return `${why} ${folder} and what replaces it, so each \`serval train\` changes what answers.`;
  return (
    `${why} ${folder} as it is now. What is trained later does not change what answers: ` +
    "`serval models release` makes a release, which `serval serve` takes and follows, and --follow follows this folder."
  );
}

function listed(text: string | null): readonly string[] {
  return (text ?? "").split(",").flatMap((item) => item.trim() || []);
}
