import { Database } from "./database.ts";
import { Experiments } from "./experiments.ts";
import { LoggedModels } from "./logged-models.ts";
import { ModelVersions } from "./model-versions.ts";
import { RegisteredModels } from "./registered-models.ts";
import { Runs } from "./runs.ts";

/** Everything but files, in one database. */
export interface TrackingStore {
  readonly db: Database;
  readonly experiments: Experiments;
  readonly runs: Runs;
  readonly loggedModels: LoggedModels;
  readonly registeredModels: RegisteredModels;
  readonly modelVersions: ModelVersions;
  close(): void;
}

/** Opens or makes the store at `path`, and brings an older one up to date. Throws E_TRACKING_STORE where it is not ours. */
export function openTrackingStore(path: string): TrackingStore {
  const db = new Database(path);
  const experiments = new Experiments(db);
  const loggedModels = new LoggedModels(db, experiments);
  const modelVersions = new ModelVersions(db);
  return {
    db,
    experiments,
    loggedModels,
    modelVersions,
    runs: new Runs(db, experiments, loggedModels),
    registeredModels: new RegisteredModels(db, modelVersions),
    close: () => db.close(),
  };
}
