/** The hash compares each pixel of a 9x8 gray thumbnail with its right neighbour. */
const thumbnailWidth = 9;
const thumbnailHeight = 8;

/**
 * Difference hash (Krawetz, "Kind of Like That", 2013): a bit is 1 where brightness falls from left to right. Survives
 * scaling, recompression and small changes of colour. Returns 64 bits as 16 hex digits, first row first.
 * `data` is uint8 [height, width, channels], gray or RGB.
 */
export function dhashOfPixels(data: Uint8Array, info: { width: number; height: number; channels: number }): string {
  const gray = grayThumbnail(data, info.width, info.height, info.channels);
  let text = "";
  for (let y = 0; y < thumbnailHeight; y++) {
    let bits = 0;
    for (let x = 0; x < thumbnailWidth - 1; x++) {
      const i = y * thumbnailWidth + x;
      bits = (bits << 1) | (gray[i]! > gray[i + 1]! ? 1 : 0);
    }
    text += bits.toString(16).padStart(2, "0");
  }
  return text;
}

/**
 * Averages luma (Rec. 601) over the cells of a 9x8 grid, pixels on a border counted in part, and rounds to 8 bits: the
 * rounding makes flat areas equal, so that noise below one step does not decide bits.
 */
function grayThumbnail(data: Uint8Array, width: number, height: number, channels: number): Uint8Array {
  const rows = new Float64Array(height * thumbnailWidth);
  const sums = new Float64Array(Math.max(width, height) + 1);
  for (let y = 0; y < height; y++) {
    let sum = 0;
    for (let x = 0; x < width; x++) {
      const i = (y * width + x) * channels;
      sum += channels < 3 ? data[i]! : (299 * data[i]! + 587 * data[i + 1]! + 114 * data[i + 2]!) / 1000;
      sums[x + 1] = sum;
    }
    for (let cell = 0; cell < thumbnailWidth; cell++) rows[y * thumbnailWidth + cell] = cellMean(sums, width, cell, thumbnailWidth);
  }
  const thumbnail = new Uint8Array(thumbnailWidth * thumbnailHeight);
  for (let x = 0; x < thumbnailWidth; x++) {
    for (let y = 0; y < height; y++) sums[y + 1] = sums[y]! + rows[y * thumbnailWidth + x]!;
    for (let cell = 0; cell < thumbnailHeight; cell++) {
      thumbnail[cell * thumbnailWidth + x] = Math.round(cellMean(sums, height, cell, thumbnailHeight));
    }
  }
  return thumbnail;
}

/** Mean of cell `cell` of `cells` equal parts of a line, from its running sums (sums[i] = sum of the first i values). */
function cellMean(sums: Float64Array, length: number, cell: number, cells: number): number {
  const sumUntil = (at: number): number => {
    const whole = Math.floor(at);
    return whole >= length ? sums[length]! : sums[whole]! + (at - whole) * (sums[whole + 1]! - sums[whole]!);
  };
  const start = (cell * length) / cells;
  const end = ((cell + 1) * length) / cells;
  return (sumUntil(end) - sumUntil(start)) / (end - start);
}
