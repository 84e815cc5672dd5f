/** An output of the model for one request. */
export interface OutputTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
  /** Its bytes follow the JSON, instead of numbers in it. */
  readonly binary: boolean;
}

export interface TensorAnswer {
  readonly model_name: string;
  readonly model_version: string;
  readonly id?: string;
  readonly outputs: readonly OutputTensor[];
}

/** The longest 32-bit float that JavaScript writes, such as -1.1754943508222875e-38, and a comma. */
const bytesPerNumber = 24;
const bytesPerFloat = 4;
/** More than the names and shapes of an answer take. */
const headBytes = 4096;

/** An upper bound of an answer's size, in bytes: what decides whether it is written at all. */
export function largestAnswerBytes({ outputs }: TensorAnswer): number {
  return outputs.reduce((sum, { values, binary }) => sum + values.length * (binary ? bytesPerFloat : bytesPerNumber), headBytes);
}

/** The JSON of an answer, as UTF-8; what goes as bytes is only announced in it. */
export function writeAnswerJson({ outputs, ...head }: TensorAnswer): Uint8Array<ArrayBuffer> {
  const tensors = outputs.map(({ name, shape, values, binary }) => ({
    name,
    datatype: "FP32",
    shape,
    ...(binary ? { parameters: { binary_data_size: values.byteLength } } : { data: [...values] }),
  }));
  return new TextEncoder().encode(JSON.stringify({ ...head, outputs: tensors }));
}
