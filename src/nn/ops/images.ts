import type { Emitted } from "../../onnx/builder.ts";
import type { NormalizeAttributes, SizeAttributes } from "./op-attributes.ts";
import { array64, expectRank, graphError, type Array64, type OpSpec } from "./op-spec.ts";

/** Pictures uint8 [N,H,W,3] -> maps [N,3,H,W]: (value/255 - mean) / std a colour. */
export const normalizeImages: OpSpec<NormalizeAttributes> = {
  infer([x]) {
    expectRank("normalizeImages", "x", x ?? [], 4);
    const [n, h, w, c] = x as [number, number, number, number];
    return [[n, c, h, w]];
  },
  evaluate([x], { mean, std }) {
    const input = x as Array64;
    const [n, h, w, c] = input.shape as [number, number, number, number];
    const result = array64([n, c, h, w]);
    for (let k = 0; k < input.data.length; k++) {
      const [channel, pixel, image] = [k % c, Math.floor(k / c) % (h * w), Math.floor(k / (c * h * w))];
      result.data[(image * c + channel) * h * w + pixel] =
        ((input.data[k] as number) / 255 - (mean[channel] as number)) / (std[channel] as number);
    }
    return [result];
  },
  gradient: { none: "pictures are data" },
  lower(builder, _lowering, [x], { mean, std }, [shape]) {
    // Bytes are moved before they become four times as large, and one number a whole plane broadcasts fast.
    const planes = builder.transpose(x as Emitted, [0, 3, 1, 2]);
    const floats = builder.node("Cast", [planes], planes.shape, { attributes: { to: 1 } });
    const scale = builder.floats(
      Float32Array.from(std, (value) => 1 / (255 * value)),
      [1, std.length, 1, 1],
    );
    const offset = builder.floats(
      Float32Array.from(mean, (value, colour) => -value / (std[colour] as number)),
      [1, mean.length, 1, 1],
    );
    return [builder.node("Add", [builder.node("Mul", [floats, scale], planes.shape), offset], shape as readonly number[])];
  },
};

/** [to, from]: how much of target pixel i, as a share of it, source pixel j covers when `from` pixels become `to`. */
function coverage(from: number, to: number): Float32Array {
  const ratio = from / to;
  const shares = new Float32Array(to * from);
  for (let i = 0; i < to; i++)
    for (let j = 0; j < from; j++) shares[i * from + j] = Math.max(0, Math.min((i + 1) * ratio, j + 1) - Math.max(i * ratio, j)) / ratio;
  return shares;
}

/** Shrinks maps [N,C,H,W] to [N,C,height,width]; each pixel is the mean of the area that it covers. */
export const areaResize: OpSpec<SizeAttributes> = {
  infer([x], { height, width }) {
    expectRank("areaResize", "x", x ?? [], 4);
    const [n, c, h, w] = x as [number, number, number, number];
    if (height > h || width > w) throw graphError("areaResize", `maps of ${h}x${w} cannot be shrunk to ${height}x${width}`);
    return [[n, c, height, width]];
  },
  evaluate([x], { height, width }) {
    const input = x as Array64;
    const [n, c, h, w] = input.shape as [number, number, number, number];
    const [rows, columns] = [coverage(h, height), coverage(w, width)];
    const result = array64([n, c, height, width]);
    for (let plane = 0; plane < n * c; plane++)
      for (let y = 0; y < height; y++)
        for (let column = 0; column < width; column++) {
          let sum = 0;
          for (let j = 0; j < h; j++)
            for (let i = 0; i < w; i++)
              sum += (rows[y * h + j] as number) * (columns[column * w + i] as number) * (input.data[(plane * h + j) * w + i] as number);
          result.data[(plane * height + y) * width + column] = sum;
        }
    return [result];
  },
  gradient: { none: "pictures are data" },
  // Two products with constant matrices: a few per cent of the first convolution.
  lower(builder, _lowering, [x], { height, width }, [shape]) {
    const input = builder.plain(x as Emitted);
    const [n, c, h, w] = input.shape as [number, number, number, number];
    const columns = builder.transpose(builder.floats(coverage(w, width), [width, w]), [1, 0]);
    const narrow = builder.node("MatMul", [input, columns], [n, c, h, width]);
    return [builder.node("MatMul", [builder.floats(coverage(h, height), [height, h]), narrow], shape as readonly number[])];
  },
};
