import { environment, type Environment } from "./env.ts";

/** What to say about variables that are set and have no effect any more. */
export function retiredVariables(env: Environment = environment()): string[] {
  if ((env["SERVAL_PEERS"]?.trim() ?? "") === "") return [];
  return [
    "SERVAL_PEERS has no effect any more. Replicas take feedback about each other's predictions where SERVAL_PREDICTIONS_URL names a PostgreSQL that they share (docs/service.md).",
  ];
}
