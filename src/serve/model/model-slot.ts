import { ServalError, toServalError, type ErrorCode } from "../../errors/serval-error.ts";
import { assertSameSignature, startServedModel, type ServableBundle, type ServedModel, type ServedModelOptions } from "./served-model.ts";

/** A version that a source would like to see served. */
export interface ModelCandidate {
  /** What `ServableBundle.version` will be: a version that is served already is not loaded again. */
  readonly version: string;
  readonly load: () => Promise<ServableBundle>;
}

export type OfferResult =
  /** It serves now. */
  | "swapped"
  /** It served before. */
  | "same"
  /** Rolled back. Not served again until a different version is offered or the pin is removed. */
  | "pinned"
  /** It could not be loaded, did not give its known answers, or has other labels. The old one still serves. */
  | "refused";

/** Where versions come from: a folder, or a registry whose alias moves. */
export interface ModelSource {
  /** Offers the version that should serve, now and whenever it may have changed, until `signal` is aborted. */
  follow(offer: (candidate: ModelCandidate) => Promise<OfferResult>, signal: AbortSignal): void;
}

export interface ModelRef {
  readonly name: string;
  readonly version: string;
}

export interface Refusal extends ModelRef {
  readonly code: ErrorCode;
  /** For the log: it may name files. */
  readonly message: string;
}

export interface SlotOptions {
  readonly model: ServedModelOptions;
  readonly onSwap?: (now: ServedModel, before: ModelRef) => void;
  readonly onRefused?: (refusal: Refusal) => void;
}

/** A refused version is tried again after this, because a copy may have been half way. */
const retryRefusedMs = 60_000;

/** The place of the model that answers. Each request takes `current` for itself: the next one may get another. */
export class ModelSlot {
  readonly #options: SlotOptions;
  #current: ServedModel;
  #previous: ServableBundle | null = null;
  #pinnedAgainst: ServableBundle | null = null;
  #refused: (Refusal & { readonly at: number }) | null = null;
  #closed = false;
  /** Models that answer what they have in hand. */
  readonly #ending = new Map<ServedModel, Promise<void>>();
  /** One change at a time, in the order in which they were asked for. */
  #changing: Promise<unknown> = Promise.resolve();

  /** Takes over `first`: closing the slot closes it. */
  constructor(first: ServedModel, options: SlotOptions) {
    this.#current = first;
    this.#options = options;
  }

  get current(): ServedModel {
    return this.#current;
  }

  /** What `rollback` goes back to. */
  get previous(): ModelRef | null {
    return this.#previous && refOf(this.#previous);
  }

  /** The version that `rollback` went back from, while it is kept out. */
  get pinnedAgainst(): ModelRef | null {
    return this.#pinnedAgainst && refOf(this.#pinnedAgainst);
  }

  /** The last version that was refused, until one is accepted. */
  get refused(): Refusal | null {
    return this.#refused;
  }

  /** Tasks waiting or running, in the current model and in those that end. */
  get depth(): number {
    return [this.#current, ...this.#ending.keys()].reduce((sum, { pool }) => sum + pool.depth, 0);
  }

  /** Loads a version beside the old one, checks it, and puts it in its place. Never throws for what the version does. */
  async offer(candidate: ModelCandidate): Promise<OfferResult> {
    return await this.#inTurn(async () => await this.#offer(candidate));
  }

  /** Goes back to the previous version, and keeps the present one out. Throws E_MODEL_ROLLBACK. */
  async rollback(): Promise<void> {
    await this.#inTurn(async () => {
      const rejected: ServableBundle = this.#current;
      if (this.#previous === null)
        throw new ServalError("E_MODEL_ROLLBACK", `${this.#current.name} ${rejected.version} is the only version that was served.`);
      this.#put(await startServedModel(this.#previous, this.#options.model));
      this.#pinnedAgainst = rejected;
    });
  }

  /** Lets the version in again that was kept out. Throws E_MODEL_ROLLBACK where none is. */
  async unpin(): Promise<OfferResult> {
    return await this.#inTurn(async () => {
      const kept = this.#pinnedAgainst;
      if (kept === null) throw new ServalError("E_MODEL_ROLLBACK", "No version is excluded.");
      this.#pinnedAgainst = null;
      return await this.#offer({ version: kept.version, load: async () => await Promise.resolve(kept) });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#changing;
    await Promise.all([...this.#ending.values(), this.#current.close()]);
  }

  async #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const turn = this.#changing.then(change);
    this.#changing = turn.catch(() => undefined);
    return await turn;
  }

  async #offer({ version, load }: ModelCandidate): Promise<OfferResult> {
    if (version === this.#current.version) this.#refused = null;
    if (this.#closed || version === this.#current.version) return "same";
    if (version === this.#pinnedAgainst?.version) return "pinned";
    if (version === this.#refused?.version && performance.now() - this.#refused.at < retryRefusedMs) return "refused";
    try {
      const servable = await load();
      assertSameSignature(this.#current, servable);
      this.#put(await startServedModel(servable, this.#options.model));
      this.#pinnedAgainst = null;
      this.#refused = null;
      return "swapped";
    } catch (error) {
      const { code, message } = toServalError(error);
      this.#refused = { name: this.#current.name, version, code, message, at: performance.now() };
      this.#options.onRefused?.(this.#refused);
      return "refused";
    }
  }

  /** The old threads answer what they have in hand; new requests go to the new ones from this moment on. */
  #put(next: ServedModel): void {
    const before = this.#current;
    this.#current = next;
    const { bundle, version, checkImages, classifier, space, places, featureShape } = before;
    this.#previous = { bundle, version, checkImages, classifier, space, places, featureShape };
    this.#ending.set(
      before,
      before.close().finally(() => this.#ending.delete(before)),
    );
    this.#options.onSwap?.(next, refOf(before));
  }
}

function refOf({ bundle, version }: ServableBundle): ModelRef {
  return { name: bundle.manifest.name, version };
}
