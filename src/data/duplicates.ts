/** Two pictures are near duplicates when their 64-bit hashes differ in at most this many bits. */
const nearDuplicateBits = 2;

/** Bit ranges of the three bands: hashes that differ in two bits agree in at least one band. */
const bandCount = nearDuplicateBits + 1;

/**
 * Groups near duplicates, and what is connected through them (union-find). Returns for each hash the index of the
 * first member of its group. `dhashes` are 16 hex digits each. Instead of all pairs, only those that agree in one of
 * three bands of 21 or 22 bits are compared (the pigeonhole principle): 22,000 pictures take some milliseconds.
 */
export function groupNearDuplicates(dhashes: readonly string[]): Uint32Array {
  const { first, unique } = uniqueHashes(dhashes);
  const high = Uint32Array.from(unique, (i) => Number.parseInt(dhashes[i]!.slice(0, 8), 16));
  const low = Uint32Array.from(unique, (i) => Number.parseInt(dhashes[i]!.slice(8), 16));
  const parent = Uint32Array.from(unique, (_, u) => u);
  for (let band = 0; band < bandCount; band++) joinWithinBand(band, high, low, parent);
  return first.map((u) => unique[find(parent, u)]!);
}

/** For each hash the number of its distinct value, and for each distinct value the index where it comes first. */
function uniqueHashes(dhashes: readonly string[]): { first: Uint32Array; unique: number[] } {
  const numbers = new Map<string, number>();
  const unique: number[] = [];
  const first = new Uint32Array(dhashes.length);
  for (const [i, dhash] of dhashes.entries()) {
    let number = numbers.get(dhash);
    if (number === undefined) {
      number = unique.length;
      numbers.set(dhash, number);
      unique.push(i);
    }
    first[i] = number;
  }
  return { first, unique };
}

function bandKey(band: number, high: number, low: number): number {
  if (band === 0) return high >>> 10;
  return band === 1 ? ((high & 0x3ff) << 11) | (low >>> 21) : low & 0x1fffff;
}

function joinWithinBand(band: number, high: Uint32Array, low: Uint32Array, parent: Uint32Array): void {
  // The key in front of the index, so that one numeric sort brings equal keys together.
  const shift = 2 ** 30;
  const sorted = Float64Array.from(high, (h, i) => bandKey(band, h, low[i]!) * shift + i).sort();
  const keys = Uint32Array.from(sorted, (value) => value / shift);
  const order = Uint32Array.from(sorted, (value) => value % shift);
  // In the order of the keys, so that the innermost loop walks through memory: many pictures of one plain background
  // can share a band, and then it runs hundreds of millions of times.
  const highs = Int32Array.from(order, (i) => high[i]! | 0);
  const lows = Int32Array.from(order, (i) => low[i]! | 0);
  let start = 0;
  for (let end = 1; end <= order.length; end++) {
    if (end < order.length && keys[end] === keys[start]) continue;
    for (let a = start; a < end; a++) {
      const [h, l] = [highs[a]!, lows[a]!];
      for (let b = a + 1; b < end; b++) {
        if (bitCount(h ^ highs[b]!) + bitCount(l ^ lows[b]!) <= nearDuplicateBits) union(parent, order[a]!, order[b]!);
      }
    }
    start = end;
  }
}

/** Set bits of a 32-bit number (Warren, Hacker's Delight, 5-1). */
export function bitCount(value: number): number {
  let v = value - ((value >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  v = (v + (v >>> 4)) & 0x0f0f0f0f;
  return Math.imul(v, 0x01010101) >>> 24;
}

function find(parent: Uint32Array, start: number): number {
  let root = start;
  while (parent[root] !== root) root = parent[root]!;
  for (let i = start; parent[i] !== root;) {
    const next = parent[i]!;
    parent[i] = root;
    i = next;
  }
  return root;
}

/** The smaller root wins, so that a group is named by its first member whatever the order of the pairs. */
function union(parent: Uint32Array, a: number, b: number): void {
  const x = find(parent, a);
  const y = find(parent, b);
  if (x < y) parent[y] = x;
  else parent[x] = y;
}
