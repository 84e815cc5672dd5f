import { statSync } from "node:fs";
import { ServalError } from "../errors/serval-error.ts";
import { isAbsent } from "../files.ts";
import type { PredictionStore } from "./prediction-store.ts";
import { SqliteStore } from "./sqlite-store.ts";

/** Opens PostgreSQL. Its library is loaded where it is used only. */
export async function openPostgres(url: string): Promise<PredictionStore> {
  const { PostgresStore } = await import("./postgres-store.ts");
  return await PostgresStore.open(url);
}

/** Opens a store that is there: `url`, or the file without one. Throws E_PREDICTION_LOG where there is none, or where it cannot be read. */
export async function openExistingStore(path: string, url?: string): Promise<PredictionStore> {
  try {
    if (url !== undefined) return await openPostgres(url);
    statSync(path);
    return new SqliteStore(path);
  } catch (error) {
    const reason = isAbsent(error) ? "there is no such file" : messageOf(error).replace(/\.$/, "");
    throw new ServalError(
      "E_PREDICTION_LOG",
      `The predictions in ${url === undefined ? path : describeUrl(url)} cannot be read: ${reason}.`,
      {
        cause: error,
        hint: "Run this in the working folder of the service, with SERVAL_STATE_DIR and SERVAL_PREDICTIONS_URL set as for the service.",
      },
    );
  }
}

/** An address without its user and password. */
export function describeUrl(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}

/** A name with several addresses fails with an error for each, and without a message. */
function messageOf(error: unknown): string {
  return ((error instanceof AggregateError ? error.errors[0] : error) as Error).message;
}
