import { parentPort, workerData } from "node:worker_threads";
import { openExistingStore } from "../predictions/open-store.ts";
import type { PredictionStore } from "../predictions/prediction-store.ts";
import { answerCalls } from "../threads/answer-calls.ts";
import { createTrackingClient } from "../tracking/client/tracking-client.ts";
import { closeNextWindow } from "./close-window.ts";
import { logWindow } from "./log-window.ts";
import { readWindow } from "./read-window.ts";
import { monitorWindow } from "./report.ts";
import type { MonitorProtocol, MonitorSetup } from "./service-monitor.ts";

/** A window that another replica took longer ago than this, and has not logged, is logged here. */
const abandonedMs = 300_000;

/** A store that is opened when it is needed, and again after it failed: its file may have been replaced, its server restarted. */
class OpenedStore {
  readonly #setup: MonitorSetup;
  #store: PredictionStore | undefined;

  constructor(setup: MonitorSetup) {
    this.#setup = setup;
  }

  async use<T>(work: (store: PredictionStore) => Promise<T>): Promise<T> {
    this.#store ??= await openExistingStore(this.#setup.path, this.#setup.url);
    try {
      return await work(this.#store);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    const store = this.#store;
    this.#store = undefined;
    await store?.close();
  }
}

/** The thread behind `ServiceMonitor`: reads the store and counts, so that no request waits for either. */
if (parentPort) {
  await answerCalls<MonitorProtocol>(parentPort, () => {
    const setup = workerData as MonitorSetup;
    const opened = new OpenedStore(setup);
    const tracking = setup.trackingUri === null ? undefined : createTrackingClient(setup.trackingUri);
    return {
      call: async (call) =>
        await opened.use(async (store) => {
          const { model, nowMs } = call;
          if (call.kind === "report") return monitorWindow(await readWindow(store, model, nowMs), model);
          const window = await closeNextWindow(store, model, call);
          if (tracking === undefined) return window !== undefined;
          const toLog = window ?? (await store.windows.take(nowMs - abandonedMs, nowMs));
          if (toLog !== undefined) await store.windows.logged(toLog, await logWindow(tracking, toLog));
          return toLog !== undefined;
        }),
      close: async () => await opened.close(),
    };
  });
}
