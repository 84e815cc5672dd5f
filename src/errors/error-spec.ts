/** One row of a table of errors: what the code means, and what to do next. */
export interface ErrorSpec {
  /** One sentence, without the particulars that the thrown message adds. */
  readonly title: string;
  /** The next step for the person who sees it. */
  readonly hint: string;
}
