import { rollback, type Standing } from "../../registry/promote.ts";
import { defaultModelName } from "../default-model-name.ts";
import type { UseCaseOptions } from "../reporter.ts";
import { connectTracking } from "../tracking-connection.ts";

export interface RollbackModelOptions extends UseCaseOptions {
  /** Registered model. Default: model.name of params.yaml. */
  readonly name?: string | undefined;
  /** Recorded on the version that is left. */
  readonly reason?: string | undefined;
}

export interface RollbackReport {
  readonly name: string;
  readonly standing: Standing;
}

/** Makes the previous version the champion again. Throws E_REGISTRY_MISSING where there is none. */
export async function rollbackModel({ cwd, reason, signal, ...options }: RollbackModelOptions): Promise<RollbackReport> {
  const { registry } = await connectTracking(cwd);
  const name = options.name ?? (await defaultModelName(cwd));
  return { name, standing: await rollback(registry, name, reason, signal) };
}
