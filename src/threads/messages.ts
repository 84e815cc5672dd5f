import type { SentError } from "./sent-error.ts";

/** What two sides say to each other; a protocol that has no notes or no events leaves them out. */
export interface Protocol {
  /** What a thread is asked, and what it answers. */
  readonly call: unknown;
  readonly answer: unknown;
  /** What it is told, without an answer. */
  readonly note?: unknown;
  /** What it tells without being asked. */
  readonly event?: unknown;
}

export interface NumberedCall<P extends Protocol> {
  readonly id: number;
  readonly call: P["call"];
}

/** What a thread is sent, in order. */
export type ToThread<P extends Protocol> =
  /** Each is answered by itself. */
  | { readonly kind: "calls"; readonly calls: readonly NumberedCall<P>[] }
  | { readonly kind: "note"; readonly note: P["note"] }
  /** The last: it answers what came before, and ends. */
  | { readonly kind: "close" };

export type FromThread<P extends Protocol> =
  /** One of these two is the first: it has loaded what it needs, or it cannot work. */
  | { readonly kind: "ready" }
  | { readonly kind: "refused"; readonly error: SentError }
  | { readonly kind: "done"; readonly id: number; readonly answer: P["answer"] }
  | { readonly kind: "failed"; readonly id: number; readonly error: SentError }
  | { readonly kind: "event"; readonly event: P["event"] };
