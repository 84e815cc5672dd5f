/** What one try of one request gets. */
export interface RemoteRequest {
  /** Aborted when the command is stopped, and when nothing moved for too long. */
  readonly signal: AbortSignal;
  /** Tells the watch for stalls that bytes moved; without a number, that a step is done. */
  readonly moved: (bytes?: number) => void;
}

export interface RemoteObject {
  /** Ends in `.dir` for the manifest of a folder. */
  readonly md5: string;
  readonly size: number;
}

/**
 * A place that keeps objects under DVC's names, `files/md5/ab/cdef…`. Its calls are single tries: repeating them, and running
 * them side by side, is the work of the link.
 */
export interface Remote {
  /** As .dvc/config has it. */
  readonly name: string;
  /** For people. */
  readonly url: string;
  /** How many requests at once the configuration asks for. */
  readonly jobs: number | undefined;
  /** A request that moves next to nothing for this long has failed. */
  readonly stallMs: number;
  /** The full address of an object, for people. */
  locate(md5: string): string;
  has(md5: string, request: RemoteRequest): Promise<boolean>;
  /** The objects whose names begin with these two digits; all of them for "". */
  list(prefix: string, request: RemoteRequest): Promise<RemoteObject[]>;
  /** Gives the object its name only when it is whole. Throws E_CACHE_CORRUPT where the file is not what `md5` says. */
  upload(md5: string, path: string, request: RemoteRequest): Promise<void>;
  /** Makes what was uploaded so far survive a power cut. */
  settle(): Promise<void>;
  /**
   * Writes the object to a new file at `path`, read-only and synced, and gives the MD5 of what arrived, or a text that says that it is
   * larger than `maxBytes`; null where the remote has no such object.
   */
  download(md5: string, path: string, maxBytes: number, request: RemoteRequest): Promise<string | null>;
  remove(md5: string, request: RemoteRequest): Promise<void>;
  /** What is wrong, where trying again cannot help; undefined for what may pass, and for what a file system says. */
  refusal(error: unknown): string | undefined;
  close(): void;
}

/** The name of an object below `files/md5`. */
export function objectName(md5: string): string {
  return `${md5.slice(0, 2)}/${md5.slice(2)}`;
}

/** The object behind a path below `files/md5`; undefined for what is none, such as the temporary files of other tools. */
export function parseObjectName(name: string): string | undefined {
  const [, head, rest] = /^([0-9a-f]{2})\/([0-9a-f]{30}(?:\.dir)?)$/.exec(name) ?? [];
  return head === undefined || rest === undefined ? undefined : head + rest;
}

/** What a link has to know of the place to which it repeats requests. */
export type RequestTarget = Pick<Remote, "name" | "url" | "jobs" | "stallMs" | "locate" | "refusal">;
