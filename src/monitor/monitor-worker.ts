import { parentPort, workerData } from "node:worker_threads";
import { openExistingStore } from "../predictions/open-store.ts";
import type { PredictionStore } from "../predictions/prediction-store.ts";
import { answerCalls } from "../threads/answer-calls.ts";
import { readWindow } from "./read-window.ts";
import { monitorWindow } from "./report.ts";
import type { MonitorProtocol, MonitorSetup } from "./service-monitor.ts";

/** The thread behind `ServiceMonitor`: reads the store and counts, so that no request waits for either. */
if (parentPort) {
  await answerCalls<MonitorProtocol>(parentPort, () => {
    const { path, url } = workerData as MonitorSetup;
    let store: PredictionStore | undefined;
    return {
      call: async ({ model, nowMs }) => {
        store ??= await openExistingStore(path, url);
        try {
          return monitorWindow(await readWindow(store, model, nowMs), model);
        } catch (error) {
          // A store that fails is opened again by the next call: its file may have been replaced, its server restarted.
          const failed = store;
          store = undefined;
          await failed.close();
          throw error;
        }
      },
      close: async () => await store?.close(),
    };
  });
}
