import type { Activation, ConvAttributes, ConvLayerAttributes } from "../../onnx/lowering.ts";

export type NoAttributes = Readonly<Record<string, never>>;

export interface ShapeAttributes {
  readonly shape: readonly number[];
}

export interface MatmulAttributes {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

export interface ConvInputGradAttributes extends ConvAttributes {
  readonly inputShape: readonly number[];
}

export interface PointwiseAttributes {
  readonly activation?: Activation;
}

export interface BatchNormAttributes {
  /** Added to the variance before the square root. */
  readonly epsilon: number;
}

export interface ResidualNormAttributes extends BatchNormAttributes {
  readonly activation: Activation;
}

export interface NormalizeAttributes {
  /** Mean and standard deviation of each colour in [0,1], subtracted and divided after the division by 255. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** Every op by name, with its attributes. The registry must hold a complete OpSpec for each of them. */
export interface OpAttributes {
  add: NoAttributes;
  subtract: NoAttributes;
  multiply: NoAttributes;
  divide: NoAttributes;
  squareRoot: NoAttributes;
  signOf: NoAttributes;
  relu: NoAttributes;
  relu6: NoAttributes;
  positiveGate: NoAttributes;
  relu6Gate: NoAttributes;
  reshape: ShapeAttributes;
  sumTo: ShapeAttributes;
  broadcastTo: ShapeAttributes;
  matmul: MatmulAttributes;
  conv2d: ConvLayerAttributes;
  depthwiseConv2d: ConvLayerAttributes;
  depthwiseInputGrad: ConvInputGradAttributes;
  depthwiseWeightGrad: ConvAttributes;
  pointwiseConv2d: PointwiseAttributes;
  pointwiseInputGrad: NoAttributes;
  pointwiseWeightGrad: NoAttributes;
  conv2dInputGrad: ConvInputGradAttributes;
  conv2dWeightGrad: ConvAttributes;
  maxPool: ConvAttributes;
  maxPoolGrad: ConvAttributes;
  maxPool2: NoAttributes;
  maxPool2Grad: NoAttributes;
  channelSum: NoAttributes;
  spatialMean: NoAttributes;
  spatialMeanGrad: ShapeAttributes;
  affine: NoAttributes;
  batchNorm: ResidualNormAttributes;
  batchNormGrad: Pick<ResidualNormAttributes, "activation">;
  batchNormReluMaxPool: BatchNormAttributes;
  batchNormReluMaxPoolGrad: NoAttributes;
  softmax: NoAttributes;
  softmaxCrossEntropy: NoAttributes;
  normalizeImages: NormalizeAttributes;
}

export type OpName = keyof OpAttributes;
