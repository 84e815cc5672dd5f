/**
 * Maps with up to `window` calls in flight and yields the results in the order of the items, each as soon as it is there: also while the next
 * item is still awaited. After a failure or an early `return` of the consumer no new call starts.
 */
export async function* mapStreaming<T, R>(
  items: AsyncIterator<T>,
  window: number,
  map: (item: T) => Promise<R>,
): AsyncGenerator<R, void, undefined> {
  const flying: Promise<R>[] = [];
  let next: Promise<IteratorResult<T>> | undefined;
  let ended = false;
  try {
    for (;;) {
      if (!ended && next === undefined && flying.length < window) next = items.next();
      const [first] = flying;
      if (next === undefined && first === undefined) return;
      const event = await Promise.race([
        ...(next === undefined ? [] : [next.then((item) => ({ item }))]),
        ...(first === undefined ? [] : [first.then((result) => ({ result }))]),
      ]);
      if ("result" in event) {
        void flying.shift();
        yield event.result;
        continue;
      }
      next = undefined;
      if (event.item.done) ended = true;
      else {
        const result = map(event.item.value);
        // Somebody waits for it later; until then a failure must not count as unhandled.
        result.catch(() => undefined);
        flying.push(result);
      }
    }
  } finally {
    // Not waited for: the next item may never come.
    void items.return?.();
  }
}
