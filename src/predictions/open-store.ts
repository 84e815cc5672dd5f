import { statSync } from "node:fs";
import { isAbsent } from "../files.ts";
import { ServalError } from "../errors/serval-error.ts";
import type { PredictionStore } from "./prediction-store.ts";
import { SqliteStore } from "./sqlite-store.ts";

/** Opens a store that is there, to read it. Throws E_PREDICTION_LOG where there is none, or where it cannot be read. */
export function openExistingStore(path: string): PredictionStore {
  try {
    statSync(path);
    return new SqliteStore(path);
  } catch (error) {
    const reason = isAbsent(error) ? "there is no such file" : (error as Error).message.replace(/\.$/, "");
    throw new ServalError("E_PREDICTION_LOG", `The predictions in ${path} cannot be read: ${reason}.`, {
      cause: error,
      hint: "Run this in the working folder of the service, or set SERVAL_STATE_DIR as the service has it.",
    });
  }
}
