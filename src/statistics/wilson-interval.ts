/** The 97.5 % point of the normal distribution. */
export const z95 = 1.959963984540054;

/** 95 % Wilson score interval of a share (Wilson 1927): right also near 0 and 1, unlike the normal approximation. */
export function wilsonInterval(successes: number, count: number): [low: number, high: number] {
  if (count === 0) return [0, 1];
  const share = successes / count;
  const shrink = 1 + z95 ** 2 / count;
  const center = (share + z95 ** 2 / (2 * count)) / shrink;
  const half = (z95 / shrink) * Math.sqrt((share * (1 - share)) / count + z95 ** 2 / (4 * count ** 2));
  return [successes === 0 ? 0 : Math.max(0, center - half), successes === count ? 1 : Math.min(1, center + half)];
}
