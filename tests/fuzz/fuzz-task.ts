/** What the process that watches gives to the one that tries inputs. */
export interface FuzzTask {
  readonly target: string;
  readonly seed: number;
  readonly endAt: number;
  readonly dir: string;
}

export interface FuzzReport {
  readonly inputs: number;
  /** Inputs that changes are made to: the good ones, and those that got further. */
  readonly corpus: number;
  readonly blocks: number;
  readonly finds: number;
}

/** The file of the input that is being tried: where it hangs or kills the process, the one that watches finds it here. */
export const currentInput = "current";
