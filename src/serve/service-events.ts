import type { FastifyBaseLogger } from "fastify";
import type { ServalError } from "../errors/serval-error.ts";
import type { DecoderEnd } from "../image/decoder-process.ts";
import type { ServiceMetrics } from "../monitor/metrics.ts";
import type { ModelRef, Refusal } from "./model/model-slot.ts";
import type { ServedModel } from "./model/served-model.ts";

/**
 * Tells the log and the metrics what happens beside the requests. Both are made after the first thread: what happens before is told
 * by the start that fails.
 */
export class ServiceEvents {
  #log: FastifyBaseLogger | undefined;
  #metrics: ServiceMetrics | undefined;

  countIn(metrics: ServiceMetrics): void {
    this.#metrics = metrics;
  }

  writeTo(log: FastifyBaseLogger): void {
    this.#log = log;
  }

  decoderStarted(): void {
    this.#metrics?.countDecoderStart();
  }

  decoderEnded(reason: DecoderEnd): void {
    this.#log?.warn({ reason }, "a decoder process was ended by its image");
    this.#metrics?.countDecoderEnd(reason);
  }

  threadLost({ code, message }: ServalError): void {
    this.#log?.error({ code }, message);
    this.#metrics?.countError(code);
  }

  logTrouble(message: string): void {
    this.#log?.error({ code: "E_PREDICTION_LOG" }, message);
  }

  logRecovered(message: string): void {
    this.#log?.info(message);
  }

  predictionsWait(count: number): void {
    this.#metrics?.setWaitingPredictions(count);
  }

  predictionsLost(count: number): void {
    this.#metrics?.countLostPredictions(count);
  }

  modelSwapped({ name, version, bundle }: ServedModel, before: ModelRef): void {
    this.#metrics?.countSwap("swapped");
    this.#metrics?.setModel({ name, version, labels: bundle.manifest.labels });
    this.#log?.info({ model: name, version, before: before.version }, "model swapped");
  }

  /** `serving`: the version that still serves. */
  modelRefused({ name, version, code, message }: Refusal, serving: string): void {
    this.#metrics?.countSwap("refused");
    this.#metrics?.countError(code);
    this.#log?.error({ model: name, version, code, serving }, `model refused: ${message}`);
  }
}
