import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { apiKey } from "../../config/env.ts";
import { runSmoke, type SmokeCheck, type SmokeReport } from "../../deploy/checks/smoke.ts";
import type { UseCaseOptions } from "../reporter.ts";

export interface SmokeServiceOptions extends UseCaseOptions {
  /** Address of the service. */
  readonly url: string;
  /** How long it waits for the service to become healthy. Default: 0. */
  readonly waitSeconds?: number | undefined;
  /** Longest median time of a prediction. Default: 1000. */
  readonly maxLatencyMs?: number | undefined;
  /** Image file, relative to `cwd`. Default: a few drawn squares. */
  readonly image?: string | undefined;
  /** Told after each check. */
  readonly onCheck?: ((check: SmokeCheck) => void) | undefined;
}

/** Checks from outside that a running service works. What failed is in the report. */
export async function smokeService(options: SmokeServiceOptions): Promise<SmokeReport> {
  const { cwd, url, waitSeconds = 0, maxLatencyMs = 1000, image, signal, onCheck = () => undefined } = options;
  const picture = image === undefined ? undefined : await readFile(resolve(cwd, image));
  return await runSmoke({
    url,
    ...(picture ? { picture } : {}),
    waitMs: waitSeconds * 1000,
    maxLatencyMs,
    apiKey: apiKey(),
    signal,
    onCheck,
  });
}
