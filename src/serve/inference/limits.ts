import type { ImageLimits } from "../../image/check-image.ts";

export interface ServeLimits {
  /** Largest image file. */
  readonly maxBodyBytes: number;
  /** Largest image, width times height. */
  readonly maxPixels: number;
  /** Predictions that may be waiting or running before the service answers 503. */
  readonly queueLimit: number;
  /** Time for one prediction once its image has arrived. */
  readonly requestTimeoutMs: number;
  /** Time for a request to arrive; default one minute, for a phone on a slow network. */
  readonly uploadTimeoutMs?: number;
  /** Processor time for decoding one image; default `defaultMaxDecodeMs`. */
  readonly maxDecodeMs?: number | undefined;
  /** Time without an answer after which a thread that has work is replaced; default half a minute. */
  readonly hangMs?: number;
}

/** The defaults that docs/configuration.md gives for the SERVAL_ variables behind them; the queue is that of two threads. */
export const defaultLimits: ServeLimits = {
  maxBodyBytes: 16 * 1024 * 1024,
  maxPixels: 64_000_000,
  queueLimit: 64,
  requestTimeoutMs: 10_000,
};

export const defaultHangMs = 30_000;

/** Limits of the images of a bundle. They were hashed with it, so a service that takes only small images can still check itself. */
export const checkLimits: ImageLimits = { maxBytes: 16 * 1024 * 1024, maxPixels: 16_000_000 };
