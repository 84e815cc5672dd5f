import * as convolution from "./convolution.ts";
import * as depthwise from "./depthwise-convolution.ts";
import * as elementwise from "./elementwise.ts";
import * as images from "./images.ts";
import * as normalization from "./normalization.ts";
import type { OpAttributes } from "./op-attributes.ts";
import type { AnyOpSpec } from "./op-spec.ts";
import * as pointwise from "./pointwise-convolution.ts";
import * as pooling from "./pooling.ts";
import * as shape from "./shape.ts";
import * as softmax from "./softmax.ts";

/** The registry: a complete OpSpec for each op name, or this does not compile. */
export const OPS: { readonly [K in keyof OpAttributes]: AnyOpSpec<OpAttributes[K]> } = {
  add: elementwise.add,
  subtract: elementwise.subtract,
  multiply: elementwise.multiply,
  divide: elementwise.divide,
  squareRoot: elementwise.squareRoot,
  signOf: elementwise.signOf,
  relu: elementwise.relu,
  relu6: elementwise.relu6,
  positiveGate: elementwise.positiveGate,
  relu6Gate: elementwise.relu6Gate,
  reshape: shape.reshape,
  sumTo: shape.sumTo,
  broadcastTo: shape.broadcastTo,
  matmul: shape.matmul,
  conv2d: convolution.conv2d,
  depthwiseConv2d: depthwise.depthwiseConv2d,
  depthwiseInputGrad: depthwise.depthwiseInputGrad,
  depthwiseWeightGrad: depthwise.depthwiseWeightGrad,
  pointwiseConv2d: pointwise.pointwiseConv2d,
  pointwiseInputGrad: pointwise.pointwiseInputGrad,
  pointwiseWeightGrad: pointwise.pointwiseWeightGrad,
  conv2dInputGrad: convolution.conv2dInputGrad,
  conv2dWeightGrad: convolution.conv2dWeightGrad,
  maxPool: pooling.maxPool,
  maxPoolGrad: pooling.maxPoolGrad,
  maxPool2: pooling.maxPool2,
  maxPool2Grad: pooling.maxPool2Grad,
  channelSum: pooling.channelSum,
  spatialMean: pooling.spatialMean,
  spatialMeanGrad: pooling.spatialMeanGrad,
  affine: normalization.affine,
  batchNorm: normalization.batchNorm,
  batchNormGrad: normalization.batchNormGrad,
  batchNormReluMaxPool: normalization.batchNormReluMaxPool,
  batchNormReluMaxPoolGrad: normalization.batchNormReluMaxPoolGrad,
  softmax: softmax.softmax,
  softmaxCrossEntropy: softmax.softmaxCrossEntropy,
  normalizeImages: images.normalizeImages,
};
