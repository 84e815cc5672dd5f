import { setTimeout as delay } from "node:timers/promises";
import { ServalError } from "../../errors/serval-error.ts";
import { request } from "../../http/client.ts";

export interface ReadinessOptions {
  readonly waitMs: number;
  /** Why there is nothing to wait for any more; null while there is. */
  readonly brokenBy: () => Promise<string | null>;
  readonly signal?: AbortSignal | undefined;
}

const pollMs = 200;
const askTimeoutMs = 5000;

/** Waits until the service at `url` says that it is ready. Throws E_DEPLOY_REFUSED when it ends, or takes too long. */
export async function waitUntilReady(url: string, { waitMs, brokenBy, signal }: ReadinessOptions): Promise<void> {
  const startedAt = performance.now();
  for (;;) {
    const said = await askReady(url);
    if (said === null) return;
    const broken = await brokenBy();
    if (broken !== null) throw new ServalError("E_DEPLOY_REFUSED", `It does not become ready: ${broken}.`);
    if (performance.now() - startedAt > waitMs) {
      throw new ServalError("E_DEPLOY_REFUSED", `It is not ready after ${waitMs / 1000} s: ${said}.`, {
        hint: "Look at the log above; --wait SECONDS gives a slow host more time.",
      });
    }
    await delay(pollMs, undefined, signal ? { signal } : {});
  }
}

/** Null when it is ready, else what it said. */
async function askReady(url: string): Promise<string | null> {
  try {
    const bounds = { answerMs: askTimeoutMs, maxBytes: 0 };
    const status = await request(`${url}/health/ready`, {}, bounds, (answer) => Promise.resolve(answer.status));
    return status === 200 ? null : `GET /health/ready answers ${status}`;
  } catch (error) {
    return `GET /health/ready: ${(error as Error).message}`;
  }
}
