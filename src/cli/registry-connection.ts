import { ServalError } from "../errors.ts";
import { createTrackingClient, type TrackingClient } from "../tracking/client.ts";
import { createRegistryClient, type RegistryClient } from "../tracking/client/registry-client.ts";

export interface RegistryConnection {
  readonly tracking: TrackingClient;
  readonly registry: RegistryClient;
}

/** The registry of the MLflow server at `uri`, which MLFLOW_TRACKING_URI names; throws E_MODEL_REGISTRY where it names none. */
export function connectRegistry(uri: string | null): RegistryConnection {
  if (uri === null) throw new ServalError("E_MODEL_REGISTRY", "MLFLOW_TRACKING_URI is not set: no model registry is known.");
  return { tracking: createTrackingClient(uri), registry: createRegistryClient(uri) };
}
