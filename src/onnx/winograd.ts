import { MS_DOMAIN, NCHWC_DOMAIN, type Emitted, type OnnxBuilder, type Map4 } from "./builder.ts";
import { gatherRows, paddedLast, rowsInward } from "./rows.ts";

/**
 * Winograd's minimal filtering F(4x4, 3x3), Lavin and Gray 2015, arXiv:1509.09308: a 4x4 tile of a convolution's result from a
 * 6x6 tile of its input takes 36 products a pair of channels instead of 144. Input tiles, filters and results go there and back by
 * the matrices below (rows times columns: V = Bt d B, U = G g Gt, y = At (U V) A), each applied to both axes at once.
 */
const INPUT = [
  [4, 0, -5, 0, 1, 0],
  [0, -4, -4, 1, 1, 0],
  [0, 4, -4, -1, 1, 0],
  [0, -2, -1, 2, 1, 0],
  [0, 2, -1, -2, 1, 0],
  [0, 4, 0, -5, 0, 1],
];
const FILTER = [
  [1 / 4, 0, 0],
  [-1 / 6, -1 / 6, -1 / 6],
  [-1 / 6, 1 / 6, -1 / 6],
  [1 / 24, 1 / 12, 1 / 6],
  [1 / 24, -1 / 12, 1 / 6],
  [0, 0, 1],
];
const RESULT = [
  [1, 1, 1, 1, 1, 0],
  [0, 1, -1, 2, -2, 0],
  [0, 1, 1, 4, 4, 0],
  [0, 1, -1, 8, -8, 1],
];
/** Side of a tile of the result, of one of the input, and how many numbers the latter has. */
const [STEP, SIDE, POINTS, TAPS] = [4, 6, 36, 9];

/** The matrix that applies `matrix` to both axes of a tile whose numbers are one column. */
function onBothAxes(matrix: readonly (readonly number[])[]): number[][] {
  return matrix.flatMap((rowA) => matrix.map((rowB) => rowA.flatMap((a) => rowB.map((b) => a * b))));
}

function transposed(matrix: readonly (readonly number[])[]): number[][] {
  return (matrix[0] as number[]).map((_, column) => matrix.map((row) => row[column] as number));
}

const inputMatrix = onBothAxes(INPUT);
const filterMatrix = onBothAxes(FILTER);
const resultMatrix = onBothAxes(RESULT);

/** `matrix` times a value whose first axis it replaces. */
function apply(builder: OnnxBuilder, matrix: readonly (readonly number[])[], value: Emitted, rest: readonly number[]): Emitted {
  const [rows, inner, columns] = [matrix.length, (matrix[0] as number[]).length, rest.reduce((product, size) => product * size, 1)];
  const constant = builder.floats(Float32Array.from(matrix.flat()), [rows, inner]);
  const product = builder.node("MatMul", [constant, builder.reshape(value, [inner, columns])], [rows, columns]);
  return builder.reshape(product, [rows, ...rest]);
}

const tilesAlong = (size: number): number => Math.ceil(size / STEP);

/** Number of tiles of maps [N,C,H,W]. */
function tileCount([n, , height, width]: Map4): number {
  return n * tilesAlong(height) * tilesAlong(width);
}

/** Calls `visit` with the picture, row and column of each tile's first pixel. */
function forEachTile([n, , height, width]: Map4, visit: (picture: number, row: number, column: number) => void): void {
  for (let picture = 0; picture < n; picture++)
    for (let row = 0; row < height; row += STEP) for (let column = 0; column < width; column += STEP) visit(picture, row, column);
}

/** The tiles of maps [N,C,H,W], `side` wide, a step apart, `before` pixels of zeros in front of the first: [side x side, tiles, C]. */
function cut(builder: OnnxBuilder, maps: Emitted, side: number, before: number): Emitted {
  const shape = maps.shape as Map4;
  const [, , height, width] = shape;
  const after = (size: number): number => (tilesAlong(size) - 1) * STEP + side - before - size;
  const padded = paddedLast(builder, maps, before, [after(height), after(width)]);
  const [n, paddedHeight, paddedWidth, c] = padded.shape as Map4;
  const pixels = new Int32Array(side * side * tileCount(shape));
  let at = 0;
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++)
      forEachTile(shape, (picture, row, column) => {
        pixels[at++] = (picture * paddedHeight + row + y) * paddedWidth + column + x;
      });
  const rows = gatherRows(builder, padded, [1, n * paddedHeight * paddedWidth, c], pixels);
  return builder.reshape(rows, [side * side, tileCount(shape), c]);
}

/** The transformed tiles of a convolution's input [N,C,H,W]: [36, tiles, C]. The forward pass and the weight's gradient share them. */
function inputTiles(builder: OnnxBuilder, x: Emitted): Emitted {
  return builder.once(`tiles ${x.name}`, () => {
    const tiles = cut(builder, x, SIDE, 1);
    return apply(builder, inputMatrix, tiles, tiles.shape.slice(1));
  });
}

/** [O,C,3,3] as [9,C,O]. */
function tapsFirst(builder: OnnxBuilder, weight: Emitted): Emitted {
  const [o, c] = weight.shape as Map4;
  const b = builder.blockSize;
  return builder.once(`taps ${weight.name}`, () => {
    const order = new Int32Array((TAPS * c * o) / b);
    let at = 0;
    for (let tap = 0; tap < TAPS; tap++)
      for (let channel = 0; channel < c; channel++)
        for (let block = 0; block < o / b; block++) order[at++] = (block * c + channel) * TAPS + tap;
    const rows = gatherRows(builder, rowsInward(builder, weight, o / b, c * TAPS), [1, order.length, b], order);
    return builder.reshape(rows, [TAPS, c, o]);
  });
}

/** Transformed products [36, tiles, channels] as maps of `shape`. */
function assemble(builder: OnnxBuilder, products: Emitted, bias: Emitted | null, shape: readonly number[]): Emitted {
  const map = shape as Map4;
  const [n, channels, height, width] = map;
  const tiles = tileCount(map);
  const parts = apply(builder, resultMatrix, products, [tiles, channels]);
  const order = new Int32Array(n * height * width);
  let tile = 0;
  forEachTile(map, (picture, row, column) => {
    for (let y = row; y < Math.min(row + STEP, height); y++)
      for (let x = column; x < Math.min(column + STEP, width); x++)
        order[(picture * height + y) * width + x] = ((y - row) * STEP + x - column) * tiles + tile;
    tile++;
  });
  const pixels = gatherRows(builder, parts, [1, STEP * STEP * tiles, channels], order);
  const biased = bias ? builder.node("Add", [pixels, bias], pixels.shape) : pixels;
  const last = builder.reshape(biased, [n, height, width, channels]);
  return builder.node("ReorderInput", [last], shape, { domain: NCHWC_DOMAIN, layout: "blocked", attributes: { channels_last: 1 } });
}

/** 3x3, stride 1, padding 1; channels in whole blocks. */
export function winogradConv2d(builder: OnnxBuilder, x: Emitted, weight: Emitted, bias: Emitted | null, shape: readonly number[]): Emitted {
  const [o, c] = weight.shape as Map4;
  const filters = apply(builder, filterMatrix, tapsFirst(builder, weight), [c, o]);
  const products = builder.node("MatMul", [inputTiles(builder, x), filters], [POINTS, tileCount(shape as Map4), o]);
  return assemble(builder, products, bias, shape);
}

/** A convolution of dy by the filters turned by half a turn, their channels exchanged. */
export function winogradInputGrad(builder: OnnxBuilder, dy: Emitted, weight: Emitted, shape: readonly number[]): Emitted {
  const [o, c] = weight.shape as Map4;
  const turned = filterMatrix.map((row) => row.toReversed());
  const filters = apply(builder, turned, tapsFirst(builder, weight), [c, o]);
  const products = builder.node("FusedMatMul", [inputTiles(builder, dy), filters], [POINTS, tileCount(shape as Map4), c], {
    domain: MS_DOMAIN,
    attributes: { transB: 1 },
  });
  return assemble(builder, products, null, shape);
}

/** The forward pass backwards: from dy to the products, to the filters' transforms, to the filters. */
export function winogradWeightGrad(builder: OnnxBuilder, x: Emitted, dy: Emitted, shape: readonly number[]): Emitted {
  const [o, c] = shape as Map4;
  const b = builder.blockSize;
  const tiles = cut(builder, dy, STEP, 0);
  const products = apply(builder, transposed(resultMatrix), tiles, tiles.shape.slice(1));
  const filters = builder.node("FusedMatMul", [inputTiles(builder, x), products], [POINTS, c, o], {
    domain: MS_DOMAIN,
    attributes: { transA: 1 },
  });
  const taps = apply(builder, transposed(filterMatrix), filters, [c, o]);
  const order = new Int32Array((o / b) * c * TAPS);
  let at = 0;
  for (let block = 0; block < o / b; block++)
    for (let channel = 0; channel < c; channel++) for (let tap = 0; tap < TAPS; tap++) order[at++] = (tap * c + channel) * (o / b) + block;
  const rows = gatherRows(builder, taps, [1, order.length, b], order);
  return builder.reshape(builder.plain(builder.asBlocked(rows, [1, o, c, TAPS])), shape);
}
