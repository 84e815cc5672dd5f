import type { Transferable } from "node:worker_threads";
import type { ServalError } from "../errors/serval-error.ts";
import type { Carrier, CarrierEnd } from "./carrier.ts";
import type { Loss } from "./loss.ts";
import type { FromThread, Protocol, ToThread } from "./messages.ts";
import { unpackError } from "./sent-error.ts";

export type ThreadState =
  /** Loading what it needs; calls wait. */
  | "starting"
  | "ready"
  /** Answering what was asked before `close`. */
  | "closing"
  /** Nothing more comes: it has ended, or was given up. */
  | "ended";

export interface ThreadOptions<P extends Protocol> {
  /** The error of the calls that a lost thread had. */
  readonly lost: (loss: Loss) => ServalError;
  /** How long it may take to be ready; default: as long as it likes. */
  readonly startMs?: number;
  /** How long it may have work and give no answer; default: as long as it likes. */
  readonly silenceMs?: number;
  /** When it keeps this process from ending; default: always. */
  readonly keepsProcess?: "always" | "busy";
  readonly onEvent?: (event: P["event"]) => void;
}

interface Waiting {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: unknown) => void;
}

/** A thread, or a process that is used like one, that answers calls. It is one life long: `KeptThread` starts others after it. */
export class Thread<P extends Protocol> {
  readonly #carrier: Carrier;
  readonly #options: ThreadOptions<P>;
  readonly #waiting = new Map<number, Waiting>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #exited = Promise.withResolvers<void>();
  readonly #endListeners: ((reason: ServalError) => void)[] = [];
  #state: ThreadState = "starting";
  /** Why it ended. */
  #reason: ServalError | undefined;
  #hasAnswered = false;
  #lastId = 0;
  #clock: NodeJS.Timeout | undefined;

  constructor(carrier: Carrier, options: ThreadOptions<P>) {
    this.#carrier = carrier;
    this.#options = options;
    this.#ready.promise.catch(() => undefined); // told to the calls, and to those who wait for it
    carrier.listen(
      (message: FromThread<P>) => this.#take(message),
      (end) => this.#exit(end),
    );
    this.#limit("slow start", options.startMs);
    this.#hold();
  }

  get state(): ThreadState {
    return this.#state;
  }

  /** Settles when it can answer, or could not start. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Resolves when it is really gone, which may be some time after it was given up. */
  get exited(): Promise<void> {
    return this.#exited.promise;
  }

  /** Calls that it has not answered. */
  get depth(): number {
    return this.#waiting.size;
  }

  /** Whether it has answered any call. */
  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  /** `listener` hears once why the thread ended, in the moment in which its calls are rejected. */
  onEnd(listener: (reason: ServalError) => void): void {
    if (this.#reason === undefined) this.#endListeners.push(listener);
    else listener(this.#reason);
  }

  /** Throws what the thread throws, and `lost` where it ended first. `transfer` moves: the caller must not use it again. */
  async ask(call: P["call"], transfer: readonly Transferable[] = []): Promise<P["answer"]> {
    return await this.askEach([call], transfer)[0];
  }

  /** The same for calls that belong together: the thread gets them at once, and answers each by itself. */
  askEach(calls: readonly P["call"][], transfer: readonly Transferable[] = []): Promise<P["answer"]>[] {
    const wasIdle = this.#waiting.size === 0;
    const numbered: { id: number; call: P["call"] }[] = [];
    const answers = calls.map((call) => {
      const { promise, resolve, reject } = Promise.withResolvers<P["answer"]>();
      const id = ++this.#lastId;
      numbered.push({ id, call });
      this.#waiting.set(id, { resolve, reject });
      return promise;
    });
    if (this.#reason !== undefined) this.#rejectAll(this.#reason);
    else {
      try {
        this.#post({ kind: "calls", calls: numbered }, transfer);
      } catch (error) {
        // Something in it cannot be cloned or moved.
        for (const { id } of numbered) this.#drop(id)?.reject(error);
      }
      if (wasIdle) this.#busy();
    }
    return answers;
  }

  /** Tells it something that has no answer. */
  tell(note: P["note"], transfer: readonly Transferable[] = []): void {
    if (this.#reason === undefined) this.#post({ kind: "note", note }, transfer);
  }

  /** Lets it answer what it was asked before, and end. */
  async close(): Promise<void> {
    if (this.#state === "starting" || this.#state === "ready") {
      this.#state = "closing";
      this.#post({ kind: "close" }, []);
    }
    await this.#exited.promise;
  }

  /** Gives it up: what it was asked is rejected with `reason`, and the thread is ended, whatever it does. */
  end(reason: ServalError): void {
    if (this.#reason !== undefined) return;
    this.#giveUp(reason);
    this.#carrier.kill();
  }

  #post(message: ToThread<P>, transfer: readonly Transferable[]): void {
    this.#carrier.post(message, transfer);
  }

  #take(message: FromThread<P>): void {
    if (this.#reason !== undefined) return;
    if (message.kind === "event") this.#options.onEvent?.(message.event);
    else if (message.kind === "refused") this.end(unpackError(message.error));
    else if (message.kind === "ready") {
      if (this.#state === "starting") this.#state = "ready";
      this.#ready.resolve();
      this.#busy();
    } else {
      this.#hasAnswered = true;
      const waiting = this.#drop(message.id);
      this.#busy();
      if (message.kind === "done") waiting?.resolve(message.answer as never);
      else waiting?.reject(unpackError(message.error));
    }
  }

  #drop(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }

  /** Whether there is work has changed, or an answer has come. */
  #busy(): void {
    this.#hold();
    if (this.#state === "starting") return;
    this.#limit("silent", this.#waiting.size === 0 ? undefined : this.#options.silenceMs);
  }

  #hold(): void {
    if (this.#options.keepsProcess === "busy") this.#carrier.hold(this.#waiting.size > 0);
  }

  #limit(kind: "slow start" | "silent", afterMs: number | undefined): void {
    clearTimeout(this.#clock);
    if (afterMs !== undefined) this.#clock = setTimeout(() => this.end(this.#options.lost({ kind, afterMs })), afterMs);
  }

  #exit(end: CarrierEnd): void {
    if (this.#reason === undefined) this.#giveUp(this.#options.lost({ kind: "ended", ...end }));
    this.#exited.resolve();
  }

  #giveUp(reason: ServalError): void {
    clearTimeout(this.#clock);
    this.#state = "ended";
    this.#reason = reason;
    this.#ready.reject(reason);
    this.#rejectAll(reason);
    for (const listener of this.#endListeners.splice(0)) listener(reason);
  }

  #rejectAll(reason: ServalError): void {
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
  }
}
