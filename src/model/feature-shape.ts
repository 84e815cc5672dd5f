import { readInterface } from "../onnx/model-interface.ts";
import { ProtobufProblem } from "../onnx/protobuf.ts";

/**
 * Shape of the output `features` of a bundle's model, -1 where a size is open: maps [-1, C, -1, -1], or a vector [-1, C]. Of a file that
 * cannot be read the engine says what is wrong with it.
 */
export function readFeatureShape(model: Uint8Array): readonly number[] {
  try {
    const shape = readInterface(model).outputs.find(({ name }) => name === "features")?.shape ?? [null, null, null, null];
    // The sizes of maps are open for clients: a later version of the model may take larger pictures.
    return shape.map((size, axis) => (axis === 1 && typeof size === "number" ? size : -1));
  } catch (error) {
    if (error instanceof ProtobufProblem) return [-1, -1, -1, -1];
    throw error;
  }
}
