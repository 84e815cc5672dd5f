import { extname } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { startWorker } from "../threads/carrier.ts";
import { KeptThread } from "../threads/kept-thread.ts";
import { describeLoss } from "../threads/loss.ts";
import { Thread } from "../threads/thread.ts";
import type { MonitoredModel } from "./monitored-model.ts";
import type { MonitorReport } from "./report.ts";

/** Where the service stores its predictions. */
export interface MonitorSetup {
  /** The SQLite file. */
  readonly path: string;
  /** PostgreSQL, in its place. */
  readonly url: string | undefined;
  /** MLflow, which windows that are over are logged to; null: they are kept in the store. */
  readonly trackingUri: string | null;
}

export interface MonitorProtocol {
  readonly call:
    | { readonly kind: "report"; readonly model: MonitoredModel; readonly nowMs: number }
    /** Closes a window that is over, and logs it. */
    | { readonly kind: "close"; readonly model: MonitoredModel; readonly nowMs: number; readonly final: boolean };
  /** A report; or whether there was a window, so that there may be another. */
  readonly answer: MonitorReport | boolean;
}

export interface ServiceMonitorOptions extends MonitorSetup {
  /** The model that answers now. */
  readonly model: () => MonitoredModel;
  /** Hears why windows cannot be closed or logged; it is tried again. */
  readonly onTrouble: (message: string) => void;
  /** How often windows are looked for that are over. Default: once a minute. */
  readonly closeEveryMs?: number | undefined;
}

const usualCloseEveryMs = 60_000;
/** After a long stop there may be many; a few at a time leave room for reports. */
const mostAtOnce = 20;

/** A report is not made again within this time: reading a thousand rows costs some milliseconds of a core. */
const freshMs = 1000;
/** How long no thread is started after one has failed. */
const restartMs = 1000;

/**
 * How the model that answers does, from the predictions that are stored: read and compared by a separate thread, when asked, and once a
 * minute for windows that are over.
 */
export class ServiceMonitor {
  readonly #options: ServiceMonitorOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #kept: KeptThread<MonitorProtocol>;
  #last: { readonly version: string; readonly at: number; readonly report: Promise<MonitorReport> } | undefined;

  #closedFor: MonitoredModel | undefined;
  #closing: Promise<void> | undefined;

  /** The thread is started by the first report. */
  constructor(options: ServiceMonitorOptions) {
    this.#options = options;
    const close = (): void => void (this.#closing ??= this.#closeWindows().finally(() => (this.#closing = undefined)));
    this.#timer = setInterval(close, options.closeEveryMs ?? usualCloseEveryMs).unref();
    this.#kept = new KeptThread<MonitorProtocol>({ start: () => this.#startThread(), pauseMs: () => restartMs });
  }

  /** At most a second old. Throws E_PREDICTION_LOG where the store cannot be read. */
  async report(): Promise<MonitorReport> {
    const model = this.#options.model();
    const isFresh = this.#last?.version === model.version && performance.now() - this.#last.at < freshMs;
    if (!isFresh) this.#last = { version: model.version, at: performance.now(), report: this.#ask(model) };
    return await (this.#last as { readonly report: Promise<MonitorReport> }).report;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#kept.close();
  }

  async #closeWindows(): Promise<void> {
    const model = this.#options.model();
    const before = this.#closedFor;
    try {
      if (before !== undefined && before.version !== model.version) await this.#closeAll(before, true);
      this.#closedFor = model;
      await this.#closeAll(model, false);
    } catch (error) {
      if (this.#kept.state !== "closed") this.#options.onTrouble(`Windows of the monitor cannot be closed: ${(error as Error).message}`);
    }
  }

  async #closeAll(model: MonitoredModel, final: boolean): Promise<void> {
    for (let closed = 0; closed < mostAtOnce; closed++) {
      const thread = this.#runningThread();
      if ((await thread.ask({ kind: "close", model, nowMs: Date.now(), final })) !== true) return;
    }
  }

  async #ask(model: MonitoredModel): Promise<MonitorReport> {
    return (await this.#runningThread().ask({ kind: "report", model, nowMs: Date.now() })) as MonitorReport;
  }

  /** Throws E_PREDICTION_LOG after `close`, and for a second after a thread has ended. */
  #runningThread(): Thread<MonitorProtocol> {
    if (this.#kept.state === "idle") this.#kept.start().catch(() => undefined); // the call below hears of it
    const thread = this.#kept.state === "closed" ? undefined : this.#kept.thread;
    if (thread === undefined) throw stopped(this.#kept.state === "closed");
    return thread;
  }

  #startThread(): Thread<MonitorProtocol> {
    const carrier = startWorker({
      file: new URL(`./monitor-worker${extname(import.meta.url)}`, import.meta.url),
      data: { path: this.#options.path, url: this.#options.url, trackingUri: this.#options.trackingUri } satisfies MonitorSetup,
      name: "serval-monitor",
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    });
    return new Thread(carrier, {
      lost: (loss) => stopped(this.#kept.state === "closed", `the thread that reads them ${describeLoss(loss)}`),
    });
  }
}

/** Clients read the message; the cause is for the log. */
function stopped(closed: boolean, cause?: string): ServalError {
  const message = closed
    ? "The service is stopping, and reads no predictions any more."
    : "The thread that reads the predictions has stopped; it is started again.";
  return new ServalError("E_PREDICTION_LOG", message, { cause });
}
