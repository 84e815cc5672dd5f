/** What a use case tells people while it works. Everything that a program needs is in the result. */
export interface Reporter {
  /** A step that was reached, or a fact about it. */
  line(text?: string): void;
  /** A remark: something that people should know, and that does not stop the work. */
  warn(text: string): void;
  /** The beginning of work that takes long: `total` pieces of it, in `unit`. */
  progress(label: string, total: number, unit?: string): Progress;
}

export interface Progress {
  /** Sets the count that is done; `note` says more about it (loss, accuracy, …). */
  update(done: number, note?: string): void;
  /** The work has ended; `text` is what remains to be said about it. */
  end(text?: string): void;
}

/** Says nothing: the reporter of a program that only wants results. */
export const silentReporter: Reporter = {
  line: () => undefined,
  warn: () => undefined,
  progress: () => ({ update: () => undefined, end: () => undefined }),
};

/** What every use case can be given. */
export interface UseCaseOptions {
  /** The working folder, where params.yaml, data/, artifacts/ and .serval/ lie. */
  readonly cwd: string;
  /** Default: says nothing. */
  readonly reporter?: Reporter | undefined;
  /** Stops the work when it is aborted. */
  readonly signal?: AbortSignal | undefined;
}
