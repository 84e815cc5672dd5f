import { setTimeout as delay } from "node:timers/promises";
import { ServalError } from "../../errors/serval-error.ts";
import { excerpt } from "../../http/printable.ts";
import { createAsk, drawnPicture, expectStatus, uploadPicture, type Ask, type Fields, type Reply } from "./ask.ts";

export interface SmokeOptions {
  /** Address of the service, such as http://127.0.0.1:8000. */
  readonly url: string;
  /** Image that is sent to /predict; default: a few drawn squares. */
  readonly picture?: Uint8Array;
  /** How long to wait for the first good answer of /health. */
  readonly waitMs: number;
  /** Bound for the median time of one prediction. */
  readonly maxLatencyMs: number;
  /** The address is one container's, with no proxy or other replica between: then its metrics have to count what is asked here. */
  readonly alone?: boolean | undefined;
  /** Where the service requires one. */
  readonly apiKey?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called after each check. */
  readonly onCheck?: ((check: SmokeCheck) => void) | undefined;
}

export interface SmokeCheck {
  readonly name: string;
  readonly passed: boolean;
  /** What was seen; for a failed check also what was expected. */
  readonly message: string;
  readonly durationMs: number;
}

export interface SmokeReport {
  readonly url: string;
  readonly passed: boolean;
  /** In the order in which they ran. A service that is not healthy is asked nothing else. */
  readonly checks: readonly SmokeCheck[];
}

/** Says what was seen; throws E_SMOKE with what was seen and expected. */
type Check = () => Promise<string>;

const pollEveryMs = 200;
const latencySamples = 9;
/** Of a check, in characters: what the service said may be in it. */
const longestMessage = 400;

/**
 * Asks a running service over HTTP whether it works: health, API pages, known answers of its model, a prediction, a bad
 * upload, latency and metrics. Never throws for what the service does; throws E_USAGE for an address that is none.
 */
export async function runSmoke(options: SmokeOptions): Promise<SmokeReport> {
  const base = parseAddress(options.url);
  const ask = createAsk(base, options);
  const picture = options.picture ?? drawnPicture();
  const rest: readonly (readonly [name: string, check: Check])[] = [
    ["docs", async () => await checkDocs(ask)],
    ["known answers", async () => await checkKnownAnswers(ask)],
    ["prediction", async () => await checkPrediction(ask, picture)],
    ["bad upload", async () => await checkBadUpload(ask)],
    ["latency", async () => await checkLatency(ask, picture, options.maxLatencyMs)],
    ["metrics", async () => await checkMetrics(ask, picture, options.alone ?? false)],
  ];
  const checks = [await tryCheck("health", async () => await waitForHealth(ask, options))];
  options.onCheck?.(checks[0] as SmokeCheck);
  if (checks[0]?.passed) {
    for (const [name, check] of rest) {
      options.signal?.throwIfAborted();
      const result = await tryCheck(name, check);
      checks.push(result);
      options.onCheck?.(result);
    }
  }
  return { url: base, passed: checks.every(({ passed }) => passed), checks };
}

function parseAddress(url: string): string {
  const parsed = URL.parse(/^https?:\/\//i.test(url) ? url : `http://${url}`);
  if (!parsed || parsed.search !== "" || parsed.hash !== "") {
    throw new ServalError("E_USAGE", `${JSON.stringify(url)} is not an address of a service; expected one like http://127.0.0.1:8000.`);
  }
  return parsed.href.replace(/(?<!\/)\/+$/, "");
}

async function tryCheck(name: string, check: Check): Promise<SmokeCheck> {
  const startedAt = performance.now();
  const end = (passed: boolean, message: string): SmokeCheck => {
    return { name, passed, message: excerpt(message, longestMessage), durationMs: Math.round(performance.now() - startedAt) };
  };
  try {
    return end(true, await check());
  } catch (error) {
    if (!(error instanceof ServalError) || error.code !== "E_SMOKE") throw error;
    return end(false, error.message);
  }
}

function expectThat(condition: boolean, message: string): asserts condition {
  if (!condition) throw new ServalError("E_SMOKE", message);
}

async function waitForHealth(ask: Ask, { waitMs, signal }: SmokeOptions): Promise<string> {
  const startedAt = performance.now();
  for (;;) {
    try {
      const reply = await ask("/health");
      expectStatus("GET /health", reply, 200);
      expectThat(reply.json["status"] === "ok", `GET /health: expected status ok, got ${reply.text.slice(0, 120)}`);
      const { name, version } = (reply.json["model"] ?? {}) as Fields;
      return `model ${String(name)}, version ${String(version)}`;
    } catch (error) {
      const waitedMs = performance.now() - startedAt;
      if (!(error instanceof ServalError) || error.code !== "E_SMOKE") throw error;
      if (waitedMs >= waitMs)
        throw new ServalError("E_SMOKE", `${error.message} (waited ${(waitedMs / 1000).toFixed(1)} s)`, { cause: error });
    }
    await delay(pollEveryMs, undefined, signal ? { signal } : {});
  }
}

async function checkDocs(ask: Ask): Promise<string> {
  const page = await ask("/docs");
  expectStatus("GET /docs", page, 200);
  expectThat(page.type.startsWith("text/html"), `GET /docs: expected a page, got ${page.type}`);
  const description = await ask("/openapi.json");
  expectStatus("GET /openapi.json", description, 200);
  const paths = Object.keys(description.json["paths"] ?? {});
  expectThat(paths.includes("/predict"), `GET /openapi.json: expected /predict among its paths, got ${paths.join(", ") || "none"}`);
  return `${paths.length} addresses described`;
}

/** Compares the model's answers with the known ones here, and does not take the service's word for it. */
async function checkKnownAnswers(ask: Ask): Promise<string> {
  const reply = await ask("/model/checks");
  expectStatus("GET /model/checks", reply, 200);
  const listed = (Array.isArray(reply.json["checks"]) ? reply.json["checks"] : []) as readonly (Partial<KnownAnswer> | null)[];
  const checks = listed.map((check) => check ?? {});
  expectThat(checks.length > 0, "GET /model/checks: the model has no known answers, so nothing shows that it works");
  const wrong = checks.filter((check) => !isRight(check));
  const list = wrong
    .slice(0, 5)
    .map(({ file, expected, got }) => `${file}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(got)}`);
  expectThat(wrong.length === 0, `${wrong.length} of ${checks.length} wrong: ${list.join("; ")}`);
  return `${checks.length} of ${checks.length} right`;
}

interface KnownAnswer {
  readonly file: string;
  readonly expected: readonly number[];
  readonly got: readonly number[];
  readonly tolerance: number;
}

function isRight({ expected, got, tolerance }: Partial<KnownAnswer>): boolean {
  const lists = Array.isArray(expected) && Array.isArray(got) && got.length === expected.length;
  return lists && expected.every((p, k) => Math.abs(p - (got[k] ?? NaN)) <= (tolerance ?? 0));
}

async function checkPrediction(ask: Ask, picture: Uint8Array): Promise<string> {
  // A service with SERVAL_ABSTAIN has no label for a picture that it is unsure of, unless it is asked for one.
  const reply = await ask("/predict?abstain=false", uploadPicture(picture, "smoke.png"));
  expectStatus("POST /predict", reply, 200);
  const { label, confidence, probabilities } = reply.json;
  const values = Object.entries((probabilities ?? {}) as Readonly<Record<string, number>>);
  const [best] = values.toSorted(([, a], [, b]) => b - a);
  const sum = values.reduce((total, [, p]) => total + p, 0);
  const got = reply.text.slice(0, 200);
  expectThat(best !== undefined && Math.abs(sum - 1) < 1e-3, `POST /predict: expected probabilities with the sum 1, got ${got}`);
  const fits = typeof label === "string" && label in Object.fromEntries(values) && confidence === best[1];
  expectThat(fits && Object.fromEntries(values)[label] === best[1], `POST /predict: expected the most probable label, got ${got}`);
  return `${label}, confidence ${best[1].toFixed(3)}`;
}

async function checkBadUpload(ask: Ask): Promise<string> {
  const what = "POST /predict with text for an image";
  const { status, json, text } = await ask("/predict", uploadPicture(Buffer.from("This is not an image."), "smoke.jpg"));
  const said = text.slice(0, 120);
  // 429 says nothing about what was sent.
  expectThat(status >= 400 && status < 500 && status !== 429, `${what}: expected 4xx for the image, got ${status}: ${said}`);
  const code = (json["error"] as Fields | undefined)?.["code"];
  expectThat(typeof code === "string", `${what}: expected an error code, got ${said}`);
  return `refused with ${status} ${code}`;
}

async function checkLatency(ask: Ask, picture: Uint8Array, maxLatencyMs: number): Promise<string> {
  const times: number[] = [];
  for (let i = 0; i < latencySamples; i++) {
    const reply = await ask("/predict", uploadPicture(picture, "smoke.png"));
    expectStatus("POST /predict", reply, 200);
    times.push(reply.durationMs);
  }
  // The median: one hiccup of a busy host must not roll a release back.
  const median = times.sort((a, b) => a - b)[Math.floor(latencySamples / 2)] as number;
  const seen = `median of ${latencySamples} predictions ${median.toFixed(1)} ms`;
  expectThat(median <= maxLatencyMs, `${seen}, expected at most ${maxLatencyMs} ms`);
  return seen;
}

async function checkMetrics(ask: Ask, picture: Uint8Array, alone: boolean): Promise<string> {
  const before = await ask("/metrics");
  if (!alone && [403, 404].includes(before.status)) return `not shown at this address (${before.status})`;
  if (!alone) return `${countPredictions(before)} predictions counted`;
  expectStatus("POST /predict", await ask("/predict", uploadPicture(picture, "smoke.png")), 200);
  const [earlier, counted] = [countPredictions(before), countPredictions(await ask("/metrics"))];
  expectThat(counted > earlier, `GET /metrics: expected more than ${earlier} predictions counted after one more, got ${counted}`);
  return `${counted} predictions counted`;
}

function countPredictions(reply: Reply): number {
  expectStatus("GET /metrics", reply, 200);
  const values = [...reply.text.matchAll(/^serval_predictions_total\{.*\} (\S+)$/gm)].map(([, value = ""]) => value);
  const wellFormed = values.length > 0 && values.every((value) => Number.isFinite(Number(value)));
  expectThat(wellFormed, `GET /metrics: expected serval_predictions_total with numbers, got ${values.join(", ") || "none"}`);
  return values.reduce((sum, value) => sum + Number(value), 0);
}
