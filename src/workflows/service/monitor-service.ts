import { resolve } from "node:path";
import { loadSettings } from "../../config/settings.ts";
import { writeFileAtomic } from "../../files.ts";
import { loadBundle, shortDigest } from "../../model/bundle.ts";
import { readReferencePlaces } from "../../model/feature-space.ts";
import { readWindow } from "../../monitor/read-window.ts";
import { monitoredModel } from "../../monitor/monitored-model.ts";
import { monitorWindow, type MonitorReport } from "../../monitor/report.ts";
import { findModel } from "../find-model.ts";
import { silentReporter, type UseCaseOptions } from "../reporter.ts";
import { monitorPage } from "./monitor-page.ts";
import { openPredictions } from "./prediction-place.ts";

export interface MonitorServiceOptions extends UseCaseOptions {
  /** As for `serval serve`, whose default it has too. */
  readonly model?: string | undefined;
  /** The end of the window; default: now. */
  readonly until?: Date | undefined;
  /** A page with pictures is written here. */
  readonly html?: string | undefined;
}

/** How a model does in service, from the stored predictions: what GET /monitor of the service answers. Throws E_ENV and E_PREDICTION_LOG. */
export async function monitorService(options: MonitorServiceOptions): Promise<MonitorReport> {
  const { cwd, until = new Date(), html, reporter = silentReporter, signal } = options;
  const wanted = options.model ?? loadSettings().model ?? undefined;
  const { dir, registered } = await findModel(wanted, { cwd, reporter, signal, lastGood: true });
  const bundle = await loadBundle(dir);
  const model = monitoredModel(registered?.version ?? shortDigest(bundle), bundle, await readReferencePlaces(bundle));
  const store = await openPredictions(cwd);
  try {
    const answers = await readWindow(store, model, until.getTime());
    const report = monitorWindow(answers, model);
    if (html !== undefined) await writeFileAtomic(resolve(cwd, html), await monitorPage(report, answers, model.manifest, signal));
    return report;
  } finally {
    await store.close();
  }
}
