import type { Counters } from "./counters.ts";

/** A version of the service: an image, and the model that it is told to serve. */
export interface Release {
  /** As a person names it, such as someone/classifier:3f2a91c. */
  readonly version: string;
  /** What it is, whatever it is called: `sha256:` and 64 hex digits. */
  readonly imageId: string;
  /** SERVAL_MODEL of its containers; empty for the model that is released in the image. */
  readonly model: string;
}

export interface PreviousRelease extends Release {
  /** Whether the engine still has its image; `imageId` is empty where it does not. */
  readonly there: boolean;
  /** Name by which a registry gives exactly this image again (NAME@sha256:…); null for one that was built on the machine. */
  readonly origin: string | null;
}

export interface Standing {
  /** What answers requests now. */
  readonly serving: Release | null;
  /** What served before it, for an undo. */
  readonly previous: PreviousRelease | null;
  /** What was done about the remains of a deploy that was killed; empty when there were none. */
  readonly repaired: readonly string[];
  /** Whether a version that never passed its checks was among them: an undo has nothing more to do then. */
  readonly undone: boolean;
}

/** What is asked of the new version, and of the previous one, while both serve. Counters grow for as long as a container lives. */
export interface Observation {
  /** Why the new version does not run any more; null while it does. */
  readonly broken: string | null;
  readonly candidate: Counters | null;
  /** Null where no other version serves. */
  readonly before: Counters | null;
}

/**
 * A place to deploy to; opening one throws E_DEPLOY_NOT_READY where the engine or its configuration is not ready. `rollOut` calls these in this order, and `takeBack` when anything fails. Whatever a target has to
 * remember it keeps in the engine (labels, tags, aliases), so that a deploy that was killed after any of them, or a
 * machine that lost power, is put right by the next `recover`.
 */
export interface Target {
  readonly name: string;
  /** Name of what only one deploy may change at a time. */
  readonly lock: string;
  /** What stands; `repaired` says what `recover` would do. Changes nothing. */
  survey(): Promise<Standing>;
  /** Undoes what a killed deploy did not finish: afterwards one version serves, or none. */
  recover(): Promise<Standing>;
  /** Brings the image to the engine. Throws E_DEPLOY_REFUSED, or E_DEPLOY_NOT_READY for no image; what serves is not touched. */
  fetch(version: string, options: { readonly pull: boolean; readonly model?: string | undefined }): Promise<Release>;
  /** Starts the release where no request reaches it but by the address that is returned. */
  start(release: Release): Promise<{ readonly url: string }>;
  /** Address at which the version that serves now can be asked alone; null where none serves. */
  addressBefore(): Promise<string | null>;
  /** Why the new version does not run any more; null while it does. Cheap. */
  brokenBy(): Promise<string | null>;
  /** Requests go to the new version as well as to the previous one. Returns when the proxy sends them. */
  admit(): Promise<void>;
  observe(): Promise<Observation>;
  /** The previous version gets no more requests, answers those that it has, and stops. It can still be taken back. */
  retire(): Promise<void>;
  /** The new version is the one that serves from now on, the previous one is what an undo goes back to. */
  commit(): Promise<void>;
  /** From wherever it stands, back to the version that served before. The new one is removed. Returns what serves. */
  takeBack(): Promise<Release | null>;
  /** Address of the service as its users see it, by the proxy. */
  publicAddress(): Promise<string>;
  /** The last lines that the new version logged; empty where there are none. */
  log(): Promise<string>;
}
