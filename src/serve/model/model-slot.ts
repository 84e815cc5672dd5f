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
  /** Somebody went back from this version; it stays out until another is offered or the pin is taken off. */
  | "pinned"
  /** It could not be loaded, did not give its known answers, or has other labels. The old one serves on. */
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

/** The place of the model that answers. Whoever needs it takes `current` anew for each request. */
export interface ModelSlot {
  readonly current: ServedModel;
  /** What `rollback` goes back to. */
  readonly previous: ModelRef | null;
  /** The version that `rollback` went back from, while it is kept out. */
  readonly pinnedAgainst: ModelRef | null;
  /** The last version that was refused, until one is accepted. */
  readonly refused: Refusal | null;
  /** Tasks waiting or running, in the current model and in those that end. */
  readonly depth: number;
  /** Loads a version beside the old one, checks it, and puts it in its place. Never throws for what the version does. */
  offer(candidate: ModelCandidate): Promise<OfferResult>;
  /** Goes back to the version before, and keeps the present one out. Throws E_MODEL_ROLLBACK. */
  rollback(): Promise<void>;
  /** Lets the version in again that was kept out. Throws E_MODEL_ROLLBACK where none is. */
  unpin(): Promise<OfferResult>;
  close(): Promise<void>;
}

export interface SlotOptions {
  readonly model: ServedModelOptions;
  readonly onSwap?: (now: ServedModel, before: ModelRef) => void;
  readonly onRefused?: (refusal: Refusal) => void;
}

/** A refused version is tried again after this, because a copy may have been half way. */
const retryRefusedMs = 60_000;

/** Takes over `first`: closing the slot closes it. */
export function createModelSlot(first: ServedModel, options: SlotOptions): ModelSlot {
  let current = first;
  let previous: ServableBundle | null = null;
  let pinnedAgainst: ServableBundle | null = null;
  let refusal: (Refusal & { readonly at: number }) | null = null;
  let closed = false;
  const ending = new Map<ServedModel, Promise<void>>();
  // One change at a time, in the order in which they were asked for.
  let changing: Promise<unknown> = Promise.resolve();
  const inTurn = async <T>(change: () => Promise<T>): Promise<T> => {
    const turn = changing.then(change);
    changing = turn.catch(() => undefined);
    return await turn;
  };
  const refOf = ({ bundle, version }: ServableBundle): ModelRef => ({ name: bundle.manifest.name, version });

  /** The old threads answer what they have in hand; new requests go to the new ones from this moment on. */
  const put = (next: ServedModel): void => {
    const before = current;
    current = next;
    const { bundle, version, checkImages, classifier, featureShape } = before;
    previous = { bundle, version, checkImages, classifier, featureShape };
    ending.set(
      before,
      before.close().finally(() => ending.delete(before)),
    );
    options.onSwap?.(next, refOf(before));
  };

  const load = async (servable: ServableBundle): Promise<ServedModel> => {
    assertSameSignature(current, servable);
    return await startServedModel(servable, options.model);
  };

  const offer = async (candidate: ModelCandidate): Promise<OfferResult> => {
    const { version } = candidate;
    if (version === current.version) refusal = null;
    if (closed || version === current.version) return "same";
    if (version === pinnedAgainst?.version) return "pinned";
    if (version === refusal?.version && performance.now() - refusal.at < retryRefusedMs) return "refused";
    try {
      put(await load(await candidate.load()));
      pinnedAgainst = null;
      refusal = null;
      return "swapped";
    } catch (error) {
      const { code, message } = toServalError(error);
      refusal = { name: current.name, version, code, message, at: performance.now() };
      options.onRefused?.(refusal);
      return "refused";
    }
  };

  return {
    get current() {
      return current;
    },
    get previous() {
      return previous && refOf(previous);
    },
    get pinnedAgainst() {
      return pinnedAgainst && refOf(pinnedAgainst);
    },
    get refused() {
      return refusal;
    },
    get depth() {
      return [current, ...ending.keys()].reduce((sum, { pool }) => sum + pool.depth, 0);
    },
    offer: async (candidate) => await inTurn(async () => await offer(candidate)),
    async rollback() {
      await inTurn(async () => {
        if (previous === null)
          throw new ServalError("E_MODEL_ROLLBACK", `${current.name} ${current.version} is the only version that was served.`);
        const rejected: ServableBundle = current;
        put(await startServedModel(previous, options.model));
        pinnedAgainst = rejected;
      });
    },
    async unpin() {
      return await inTurn(async () => {
        const kept = pinnedAgainst;
        if (kept === null) throw new ServalError("E_MODEL_ROLLBACK", "No version is kept out.");
        pinnedAgainst = null;
        return await offer({ version: kept.version, load: async () => await Promise.resolve(kept) });
      });
    },
    async close() {
      closed = true;
      await changing;
      await Promise.all([...ending.values(), current.close()]);
    },
  };
}
