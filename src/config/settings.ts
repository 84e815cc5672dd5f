import Type, { type TSchema } from "typebox";
import { Check } from "typebox/value";
import { ServalError } from "../errors/serval-error.ts";
import { defaultStateDir } from "../paths.ts";
import { describeExpected, describeGot, type SchemaNode } from "./describe-schema.ts";
import { environment, type Environment } from "./env.ts";

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

const admins = ["off", "local"] as const;
type Admin = (typeof admins)[number];

/** The environment, read once. `null` stands for a variable that is not set and has no default. */
export interface Settings {
  readonly host: string;
  readonly port: number;
  readonly model: string | null;
  readonly stateDir: string;
  readonly logLevel: LogLevel;
  readonly logFile: string | null;
  readonly workers: number;
  readonly queueLimit: number;
  readonly requestTimeoutMs: number;
  readonly maxBodyBytes: number;
  readonly maxPixels: number;
  readonly maxDecodeMs: number;
  readonly uploadTimeoutMs: number;
  readonly maxBatchSize: number;
  readonly maxDelayMs: number;
  readonly hosts: string | null;
  readonly apiKeysFile: string | null;
  readonly apiKey: string | null;
  readonly admin: Admin;
  readonly rateLimit: number;
  readonly proxies: number;
  /** Without a slash at the end; empty for the root. */
  readonly basePath: string;
  readonly corsOrigins: string | null;
  readonly abstain: boolean;
  readonly drainMs: number;
  readonly modelPollMs: number;
  readonly predictionsUrl: string | null;
  readonly predictionsPasswordFile: string | null;
  readonly predictionsKeepDays: number;
  readonly predictionsMaxBytes: number;
  readonly trackMaxFileBytes: number;
  readonly trackMaxRunBytes: number;
  readonly trackMinFreeBytes: number;
  readonly mlflowTrackingUri: string | null;
  readonly s3EndpointUrl: string | null;
  readonly awsEndpointUrl: string | null;
  readonly awsRegion: string | null;
  readonly awsDefaultRegion: string | null;
  readonly hubEndpoint: string | null;
}

/** The variable behind each setting, in the order of the documentation. */
export const variables: Readonly<Record<keyof Settings, { readonly name: string; readonly schema: TSchema }>> = {
  host: {
    name: "SERVAL_HOST",
    schema: Type.String({ default: "127.0.0.1", minLength: 1, description: "Address that servers listen on; 0.0.0.0 for all." }),
  },
  port: {
    name: "SERVAL_PORT",
    schema: Type.Integer({
      default: 8000,
      minimum: 0,
      maximum: 65_535,
      description: "Port of the prediction service; 0 takes a free one.",
    }),
  },
  model: {
    name: "SERVAL_MODEL",
    schema: Type.String({ description: "Model that `serve`, `predict` and `score` use when --model is not given." }),
  },
  stateDir: {
    name: "SERVAL_STATE_DIR",
    schema: Type.String({
      default: defaultStateDir,
      minLength: 1,
      description: "Folder for runs, checkpoints, downloads and the drawn sample.",
    }),
  },
  logLevel: {
    name: "SERVAL_LOG_LEVEL",
    schema: Type.Enum([...logLevels], { default: "info", description: "Lowest level that is logged. debug also prints stack traces." }),
  },
  logFile: {
    name: "SERVAL_LOG_FILE",
    schema: Type.String({ description: "File for the request log, beside stdout. It is rotated at 10 MB; five old files are kept." }),
  },
  workers: {
    name: "SERVAL_WORKERS",
    schema: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 256,
      description: "Threads of the service that decode images and run the model; 0 for one on each core.",
    }),
  },
  queueLimit: {
    name: "SERVAL_QUEUE_LIMIT",
    schema: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 100_000,
      description: "Predictions that may wait or run before the service answers 503; 0 for 32 for each of its threads.",
    }),
  },
  requestTimeoutMs: {
    name: "SERVAL_REQUEST_TIMEOUT_MS",
    schema: Type.Integer({
      default: 10_000,
      minimum: 1,
      maximum: 3_600_000,
      description: "Time limit of a prediction in milliseconds, counted from the arrival of its image.",
    }),
  },
  maxBodyBytes: {
    name: "SERVAL_MAX_BODY_BYTES",
    schema: Type.Integer({ default: 16_777_216, minimum: 1, maximum: 2 ** 31 - 1, description: "Largest image file in bytes." }),
  },
  maxPixels: {
    name: "SERVAL_MAX_PIXELS",
    schema: Type.Integer({
      default: 64_000_000,
      minimum: 1,
      maximum: 2 ** 31 - 1,
      description: "Largest image in pixels, width times height; decoded it may have four bytes for each.",
    }),
  },
  maxDecodeMs: {
    name: "SERVAL_MAX_DECODE_MS",
    schema: Type.Integer({
      default: 5000,
      minimum: 1,
      maximum: 3_600_000,
      description: "Processor time in milliseconds that decoding one image may take.",
    }),
  },
  uploadTimeoutMs: {
    name: "SERVAL_UPLOAD_TIMEOUT_MS",
    schema: Type.Integer({
      default: 60_000,
      minimum: 1,
      maximum: 3_600_000,
      description: "Time in milliseconds that a request may take to arrive.",
    }),
  },
  maxBatchSize: {
    name: "SERVAL_MAX_BATCH_SIZE",
    schema: Type.Integer({
      default: 1,
      minimum: 1,
      maximum: 256,
      description: "Largest number of images from different requests in one batch.",
    }),
  },
  maxDelayMs: {
    name: "SERVAL_MAX_DELAY_MS",
    schema: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 10_000,
      description: "Time in milliseconds that an image waits for others to join its batch.",
    }),
  },
  hosts: {
    name: "SERVAL_HOSTS",
    schema: Type.String({
      description:
        "Names by which clients reach the service, separated by commas, such as serval.example.com; other names are refused. On 127.0.0.1 it also knows localhost and loopback addresses; on other addresses it knows every name unless this is set.",
    }),
  },
  apiKeysFile: {
    name: "SERVAL_API_KEYS_FILE",
    schema: Type.String({
      description:
        "File with a name and the SHA-256 of an API key on each line, and the word reviewer after keys that may label all predictions; without the file, every client may send requests.",
    }),
  },
  apiKey: {
    name: "SERVAL_API_KEY",
    schema: Type.String({ description: "API key that `smoke` and `deploy` send to a service." }),
  },
  admin: {
    name: "SERVAL_ADMIN",
    schema: Type.Enum([...admins], {
      default: "off",
      description:
        "Who may change the model where there are no API keys: no client (off), or programs on the same machine (local). Never local where anything on that machine forwards connections to the service.",
    }),
  },
  rateLimit: {
    name: "SERVAL_RATE_LIMIT",
    schema: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 1_000_000_000,
      description:
        "Requests a minute for each API key, or for each IPv4 address or IPv6 /64 network where there are no keys; 0 for no limit.",
    }),
  },
  proxies: {
    name: "SERVAL_PROXIES",
    schema: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 10,
      description:
        "Proxies in front of the service: a client's address is then the one that the outermost of them wrote into X-Forwarded-For.",
    }),
  },
  basePath: {
    name: "SERVAL_BASE_PATH",
    schema: Type.String({
      default: "",
      pattern: String.raw`^(?:/(?!\.\.?(?:/|$))[\w.~-]+)*$`,
      patternMeaning: "a path such as /serval",
      description:
        "Path below which a proxy shows the service, such as /serval. The API description and the page name it, and addresses that begin with it are answered too.",
    }),
  },
  corsOrigins: {
    name: "SERVAL_CORS_ORIGINS",
    schema: Type.String({
      description: "Origins whose web pages may ask the service, separated by commas, such as https://example.org; none by default.",
    }),
  },
  abstain: {
    name: "SERVAL_ABSTAIN",
    schema: Type.Boolean({
      default: false,
      description:
        "Answer without a label where the confidence is under the model's threshold, or where the picture is like none of the training; a request can ask for it with ?abstain=true.",
    }),
  },
  drainMs: {
    name: "SERVAL_DRAIN_MS",
    schema: Type.Integer({
      default: 1000,
      minimum: 0,
      maximum: 600_000,
      description: "Time in milliseconds between a stop signal, when readiness fails, and the end of accepting connections.",
    }),
  },
  modelPollMs: {
    name: "SERVAL_MODEL_POLL_MS",
    schema: Type.Integer({
      default: 10_000,
      minimum: 0,
      maximum: 86_400_000,
      description: "How often the service looks for a new version of its model, in milliseconds; 0 for never.",
    }),
  },
  predictionsUrl: {
    name: "SERVAL_PREDICTIONS_URL",
    schema: Type.String({
      description:
        "Where predictions and feedback are kept: postgres://USER:PASSWORD@HOST/DATABASE, which replicas share, or the path of an SQLite file; predictions.db in the state folder if not set.",
    }),
  },
  predictionsPasswordFile: {
    name: "SERVAL_PREDICTIONS_PASSWORD_FILE",
    schema: Type.String({
      description: "File with the password for SERVAL_PREDICTIONS_URL, so that it need not be in the environment: a secret of the engine.",
    }),
  },
  predictionsKeepDays: {
    name: "SERVAL_PREDICTIONS_KEEP_DAYS",
    schema: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 36_500,
      description: "Days after which the service removes a prediction and its feedback; 0 for no limit of age.",
    }),
  },
  predictionsMaxBytes: {
    name: "SERVAL_PREDICTIONS_MAX_BYTES",
    schema: Type.Integer({
      default: 1_073_741_824,
      minimum: 1_048_576,
      maximum: Number.MAX_SAFE_INTEGER,
      description: "Bytes that stored predictions and their feedback may take, roughly; beyond that the oldest are removed.",
    }),
  },
  trackMaxFileBytes: {
    name: "SERVAL_TRACK_MAX_FILE_BYTES",
    schema: Type.Integer({
      default: 8_589_934_592,
      minimum: 1,
      maximum: Number.MAX_SAFE_INTEGER,
      description: "Largest file in bytes that the tracking server takes.",
    }),
  },
  trackMaxRunBytes: {
    name: "SERVAL_TRACK_MAX_RUN_BYTES",
    schema: Type.Integer({
      default: 68_719_476_736,
      minimum: 1,
      maximum: Number.MAX_SAFE_INTEGER,
      description: "Bytes that all files of one run, or of one logged model, may have on the tracking server.",
    }),
  },
  trackMinFreeBytes: {
    name: "SERVAL_TRACK_MIN_FREE_BYTES",
    schema: Type.Integer({
      default: 134_217_728,
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: "Bytes that must stay free on the disk of the tracking server; it refuses files that would leave less.",
    }),
  },
  mlflowTrackingUri: {
    name: "MLFLOW_TRACKING_URI",
    schema: Type.String({
      description:
        "Address (http or https) of the MLflow server that training runs are logged to; without it they stay in the state folder.",
    }),
  },
  s3EndpointUrl: {
    name: "AWS_ENDPOINT_URL_S3",
    schema: Type.String({
      description: "Address of the S3 that remotes of data lie on, where .dvc/config has no `endpointurl`; AWS_ENDPOINT_URL if not set.",
    }),
  },
  awsEndpointUrl: { name: "AWS_ENDPOINT_URL", schema: Type.String({ description: "The same, for all services of AWS." }) },
  awsRegion: {
    name: "AWS_REGION",
    schema: Type.String({ description: "Region of S3 where .dvc/config has no `region`; AWS_DEFAULT_REGION if not set." }),
  },
  awsDefaultRegion: {
    name: "AWS_DEFAULT_REGION",
    schema: Type.String({
      description: "The same. Credentials come from AWS_ACCESS_KEY_ID, AWS_PROFILE and so on, as with every AWS tool.",
    }),
  },
  hubEndpoint: {
    name: "HF_ENDPOINT",
    schema: Type.String({
      description: "Address of the hub that `serval backbones add hf:OWNER/NAME@REVISION` downloads from, such as a mirror.",
    }),
  },
};

/**
 * The settings that the environment asks for. An empty variable counts as not set (Compose passes those). Throws E_ENV,
 * which names each variable with a bad value, what was expected and what was got.
 */
export function loadSettings(env: Environment = environment()): Settings {
  const problems: string[] = [];
  const settings: Record<string, unknown> = {};
  for (const [key, { name, schema }] of Object.entries(variables)) {
    const node: SchemaNode = schema;
    const text = env[name]?.trim() ?? "";
    const value = text === "" ? (node.default ?? null) : key === "basePath" ? parsePath(text) : parseVariable(node, text);
    if (value !== null && !Check(schema, value)) problems.push(`${name}: expected ${describeExpected(node)}, got ${describeGot(text)}.`);
    settings[key] = value;
  }
  if (problems.length > 0) throw new ServalError("E_ENV", problems.join("\n  "));
  return Object.freeze(settings) as unknown as Settings;
}

/** One line for each setting: its variable, what it means and its default. */
export function describeVariables(keys: readonly (keyof Settings)[]): string {
  const width = Math.max(...keys.map((key) => variables[key].name.length));
  return keys
    .map((key) => {
      const { name, schema } = variables[key];
      const node: SchemaNode = schema;
      const standard = node.default === undefined ? "" : ` (default: ${JSON.stringify(node.default)})`;
      return `  ${name.padEnd(width)}  ${(node.description ?? "").replace(/\.$/, "")}${standard}\n`;
    })
    .join("");
}

/** `/serval/` and `serval` are `/serval`. */
function parsePath(text: string): string {
  const path = text.endsWith("/") ? text.slice(0, -1) : text;
  return path === "" || path.startsWith("/") ? path : `/${path}`;
}

function parseVariable(node: SchemaNode, text: string): unknown {
  if (node.type === "integer") return /^[+-]?\d+$/.test(text) ? Number(text) : text;
  if (node.type === "boolean") {
    if (/^(1|true|yes|on)$/i.test(text)) return true;
    if (/^(0|false|no|off)$/i.test(text)) return false;
  }
  return text;
}
