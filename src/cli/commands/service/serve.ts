import { access } from "node:fs/promises";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { setFlagsFromString } from "node:v8";
import type { Command } from "commander";
import { describeVariables, loadSettings, type Settings } from "../../../config/settings.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import { readApiKeys } from "../../../serve/http/api-keys.ts";
import { followFolder } from "../../../serve/model/folder-source.ts";
import { followRegistry } from "../../../serve/model/registry-source.ts";
import { openServiceLog } from "../../../serve/log/log-stream.ts";
import { startService, type Service } from "../../../serve/service.ts";
import type { Configure } from "../../command.ts";
import { findModel } from "../../find-model.ts";
import type { Output } from "../../output.ts";

export interface ServeCommandOptions {
  /** The working repository. */
  readonly cwd: string;
  /** A bundle folder, its model.onnx or a released model's name; default: the released model, else artifacts/best. */
  readonly model?: string | undefined;
  readonly settings: Settings;
}

/** The settings that only the service reads, for its --help. */
const serveSettings = [
  "workers",
  "queueLimit",
  "requestTimeoutMs",
  "uploadTimeoutMs",
  "maxBodyBytes",
  "maxPixels",
  "maxDecodeMs",
  "maxBatchSize",
  "maxDelayMs",
  "hosts",
  "apiKeysFile",
  "admin",
  "rateLimit",
  "proxies",
  "peers",
  "corsOrigins",
  "abstain",
  "drainMs",
  "modelPollMs",
  "stateDir",
  "logLevel",
  "logFile",
] as const satisfies readonly (keyof Settings)[];

const queuePerWorker = 32;

/** Where to listen, as given on the command line. */
export interface AddressOptions {
  readonly port?: string;
  readonly host?: string;
}

/** Adds --port and --host. */
export function addressOptions(command: Command): Command {
  return command
    .option("--port <PORT>", "port to listen on; 0 takes a free one (default: SERVAL_PORT or 8000)")
    .option("--host <HOST>", "address to listen on (default: SERVAL_HOST or 127.0.0.1)");
}

/** The environment's settings, with what the command line says put over them. */
export function settingsWith({ port, host }: AddressOptions): Settings {
  const environment = loadSettings();
  return { ...environment, port: port === undefined ? environment.port : parsePort(port), host: host ?? environment.host };
}

export const configure: Configure = (command, context) => {
  addressOptions(command)
    .option("--model <MODEL>", "bundle folder, its model.onnx, a released model's name, or models:/NAME@ALIAS (default: SERVAL_MODEL)")
    .addHelpText("after", () => `\nThe environment sets the rest:\n${describeVariables(serveSettings)}`)
    .action(async (options: AddressOptions & { model?: string }) => {
      await serveModel({ cwd: context.cwd, model: options.model, settings: settingsWith(options) }, context.output(), context.signal);
    });
};

/** Serves until `signal` is aborted; then answers what came before and returns. */
export async function serveModel(options: ServeCommandOptions, output: Output, signal: AbortSignal): Promise<void> {
  const service = await startModelService(options, output);
  try {
    output.warn(await describeService(service, options.cwd));
    if (!signal.aborted) await once(signal, "abort");
  } finally {
    await service.close();
  }
}

/**
 * The heaps stay small: what a request leaves behind is little, and is tidied no faster when a hundred megabytes of it have piled
 * up. The young heap does not grow, and the old one is tidied when it is a fifth larger than what is alive in it.
 */
const frugalHeaps = ["--semi-space-growth-factor=1", "--heap-growing-percent=20"];

/** Starts the service that the settings ask for; the JSON log goes to stdout and to SERVAL_LOG_FILE. */
export async function startModelService({ cwd, model, settings }: ServeCommandOptions, output: Output): Promise<Service> {
  for (const flag of frugalHeaps) setFlagsFromString(flag);
  const wanted = model ?? settings.model ?? undefined;
  const { dir, registered } = await findModel(wanted, cwd, output, undefined, { lastGood: true });
  const { host, port, maxBodyBytes, maxPixels, maxDecodeMs, requestTimeoutMs, uploadTimeoutMs, modelPollMs, apiKeysFile } = settings;
  const { maxBatchSize, maxDelayMs, rateLimit, proxies, admin, hosts, peers, corsOrigins, abstain, drainMs } = settings;
  const workers = settings.workers || availableParallelism();
  // What waits longer than half a second is hardly worth its answer; a thread answers some sixty in a second.
  const queueLimit = settings.queueLimit || queuePerWorker * workers;
  const keys = apiKeysFile === null ? undefined : await readApiKeys(resolve(cwd, apiKeysFile));
  const file = settings.logFile === null ? null : resolve(cwd, settings.logFile);
  const stream = openServiceLog(process.stdout, file, (message) => output.warn(message));
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
    drainMs,
    predictionLogFile: join(resolve(cwd, settings.stateDir), "predictions.db"),
    log: { level: settings.logLevel, stream },
  });
}

function listed(text: string | null): readonly string[] {
  return (text ?? "").split(",").flatMap((item) => item.trim() || []);
}

/** Where the service is and how to try it. */
async function describeService({ url, model }: Service, cwd: string): Promise<string> {
  const picture = "test_image.jpg";
  const found = await access(join(cwd, picture)).then(
    () => true,
    () => false,
  );
  return [
    `Serving ${model.name} (version ${model.version}) at ${url}`,
    `  try it:  curl -F file=@${found ? picture : "image.jpg"} ${url}/predict`,
    `  pages:   ${url}/ and ${url}/docs`,
  ].join("\n");
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65_535) return port;
  throw new ServalError("E_USAGE", `--port: expected a number from 0 to 65535, got ${JSON.stringify(text)}.`);
}
