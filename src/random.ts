/**
 * Seeded random numbers whose whole state is four words, so that a checkpoint can hold it: Chris Doty-Humphrey's sfc32
 * (PractRand). Not for secrets.
 */
export class Random {
  readonly state: Uint32Array<ArrayBuffer>;

  /** Different `stream`s of one seed are independent: one a purpose, one an epoch. */
  constructor(seed: number, stream = 0) {
    this.state = Uint32Array.of(seed, stream, 0x9e3779b9, 1);
    // The first words depend on the seed in a simple way; mix before use.
    for (let k = 0; k < 15; k++) this.next();
  }

  static restore(state: ArrayLike<number>): Random {
    const random = new Random(0);
    random.state.set(state);
    return random;
  }

  /** 32 random bits. */
  next(): number {
    const s = this.state as Uint32Array & [number, number, number, number];
    const result = (s[0] + s[1] + s[3]) >>> 0;
    s[3] = (s[3] + 1) >>> 0;
    s[0] = (s[1] ^ (s[1] >>> 9)) >>> 0;
    s[1] = (s[2] + (s[2] << 3)) >>> 0;
    s[2] = (((s[2] << 21) | (s[2] >>> 11)) + result) >>> 0;
    return result;
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    return this.next() / 2 ** 32;
  }

  /** A whole number in [0, bound). */
  below(bound: number): number {
    return Math.floor(this.uniform() * bound);
  }

  /** Normal with mean 0 and standard deviation 1 (Box and Muller). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** 0 … count-1 in random order (Fisher and Yates). */
  permutation(count: number): Uint32Array {
    const order = Uint32Array.from({ length: count }, (_, index) => index);
    for (let last = count - 1; last > 0; last--) {
      const other = this.below(last + 1);
      const kept = order[last] as number;
      order[last] = order[other] as number;
      order[other] = kept;
    }
    return order;
  }
}
