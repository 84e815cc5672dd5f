/** A picture to score. */
export interface ListedPicture {
  /** As the source names it: the `path` of its row. */
  readonly name: string;
  /** Throws a ServalError that is this picture's own, or what concerns every picture. */
  readonly read: () => Promise<Uint8Array>;
}

/** Pictures in an order that is the same whenever they are listed. */
export interface PictureSource {
  /** What the user called it, and for a file its size and time: a job continues only where it began. */
  readonly id: string;
  /**
   * The order of the names, where each is there once: a job continues after the last name, whatever came or went meanwhile. Without
   * it a job continues at the place that it has reached.
   */
  readonly compare?: (a: string, b: string) => number;
  /** Whether reading waits for a network: then more pictures are read at once. */
  readonly isFar: boolean;
  pictures(): AsyncIterable<ListedPicture>;
  close(): Promise<void>;
}

/** What a job has done so far. */
export interface Place {
  /** Pictures of the source that are done or not of this shard. */
  readonly position: number;
  /** The last picture that is done; null where there is none yet. */
  readonly last: string | null;
}

/** `index` of `count`, from 1: that shard has every `count`th picture. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}

export interface PlacedPicture extends ListedPicture {
  readonly position: number;
}

/** The pictures of a shard that are not done yet, with the position of each. */
export async function* remainingPictures(
  source: PictureSource,
  shard: Shard,
  place: Place,
): AsyncGenerator<PlacedPicture, void, undefined> {
  let position = 0;
  for await (const { name, read } of source.pictures()) {
    position++;
    if ((position - 1) % shard.count !== shard.index - 1) continue;
    const done = source.compare && place.last !== null ? source.compare(name, place.last) <= 0 : position <= place.position;
    if (!done) yield { name, read, position };
  }
}
