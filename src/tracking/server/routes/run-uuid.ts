import type { preValidationHookHandler } from "fastify";

/** Takes `run_uuid`, the first name of a run's id, for `run_id`: MLflow's pages and old clients send it. */
export const takeRunUuid: preValidationHookHandler = ({ query, body }, _reply, done) => {
  for (const fields of [query, body] as ({ run_id?: unknown; run_uuid?: unknown } | null | undefined)[])
    if (fields?.run_uuid !== undefined && (fields.run_id ?? "") === "") fields.run_id = fields.run_uuid;
  done();
};
