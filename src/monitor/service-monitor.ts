import { extname } from "node:path";
import { ServalError } from "../errors/serval-error.ts";
import { startWorker } from "../threads/carrier.ts";
import { KeptThread } from "../threads/kept-thread.ts";
import { describeLoss } from "../threads/loss.ts";
import { Thread } from "../threads/thread.ts";
import type { MonitoredModel, MonitorReport } from "./report.ts";

/** Where the service stores its predictions. */
export interface MonitorSetup {
  /** The SQLite file. */
  readonly path: string;
  /** PostgreSQL, in its place. */
  readonly url: string | undefined;
}

export interface MonitorProtocol {
  readonly call: { readonly model: MonitoredModel; readonly nowMs: number };
  readonly answer: MonitorReport;
}

/** A report is not made again within this time: reading a thousand rows costs some milliseconds of a core. */
const freshMs = 1000;
/** How long no thread is started after one has failed. */
const restartMs = 1000;

/** How the model that answers does, from the predictions that are stored: read and compared by a separate thread, when asked. */
export class ServiceMonitor {
  readonly #setup: MonitorSetup;
  readonly #model: () => MonitoredModel;
  readonly #kept: KeptThread<MonitorProtocol>;
  #last: { readonly version: string; readonly at: number; readonly report: Promise<MonitorReport> } | undefined;

  /** `model`: the one that answers now. The thread is started by the first report. */
  constructor(setup: MonitorSetup, model: () => MonitoredModel) {
    this.#setup = setup;
    this.#model = model;
    this.#kept = new KeptThread<MonitorProtocol>({ start: () => this.#startThread(), pauseMs: () => restartMs });
  }

  /** At most a second old. Throws E_PREDICTION_LOG where the store cannot be read. */
  async report(): Promise<MonitorReport> {
    const model = this.#model();
    const isFresh = this.#last?.version === model.version && performance.now() - this.#last.at < freshMs;
    if (!isFresh) this.#last = { version: model.version, at: performance.now(), report: this.#ask(model) };
    return await (this.#last as { readonly report: Promise<MonitorReport> }).report;
  }

  async close(): Promise<void> {
    await this.#kept.close();
  }

  async #ask({ version, manifest }: MonitoredModel): Promise<MonitorReport> {
    if (this.#kept.state === "idle") this.#kept.start().catch(() => undefined); // the call below hears of it
    const thread = this.#kept.state === "closed" ? undefined : this.#kept.thread;
    if (thread === undefined) throw stopped(this.#kept.state === "closed");
    const { name, labels, metrics, reference } = manifest;
    return await thread.ask({ model: { version, manifest: { name, labels, metrics, reference } }, nowMs: Date.now() });
  }

  #startThread(): Thread<MonitorProtocol> {
    const carrier = startWorker({
      file: new URL(`./monitor-worker${extname(import.meta.url)}`, import.meta.url),
      data: this.#setup,
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
