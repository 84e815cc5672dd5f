/** A parameter or tag as the REST API writes it: a pair in a list, because keys may hold any text. */
export interface KeyValue {
  readonly key: string;
  readonly value: string;
}
