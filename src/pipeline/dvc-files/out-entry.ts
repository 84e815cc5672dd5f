/** An out as dvc.lock and .dvc files record it. */
export interface OutEntry {
  /** Relative to the repository, forward slashes. */
  readonly path: string;
  /** Ends in `.dir` for folders. */
  readonly md5: string;
  readonly size: number;
  /** Of a folder. */
  readonly nfiles?: number;
  /** Of a file that its owner may execute. */
  readonly isexec?: true;
}
