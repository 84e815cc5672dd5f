/**
 * Maps with up to `window` calls in flight and yields the results in the order of the items. After a failure or an early
 * `return` of the consumer no new call starts, and those in flight are waited for.
 */
export async function* mapOrdered<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  window: number,
  map: (item: T) => Promise<R>,
): AsyncGenerator<R, void, undefined> {
  const flying: Promise<R>[] = [];
  try {
    for await (const item of items) {
      const result = map(item);
      // Someone waits for it later; until then a failure must not count as unhandled.
      result.catch(() => {});
      flying.push(result);
      if (flying.length >= window) {
        const first = await flying[0]!;
        void flying.shift();
        yield first;
      }
    }
    while (flying.length > 0) {
      const first = await flying[0]!;
      void flying.shift();
      yield first;
    }
  } finally {
    await Promise.allSettled(flying);
  }
}
