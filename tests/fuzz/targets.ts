import type { FuzzTarget } from "./target.ts";

/** What `npm run long:fuzz` attacks, by name; inputs of fixed bugs are in tests/fixtures/fuzz/NAME. */
export const fuzzTargets: Readonly<Record<string, () => Promise<FuzzTarget>>> = {
  image: async () => await (await import("./targets/image.ts")).openImages(),
  multipart: async () => await (await import("./targets/multipart.ts")).openMultipart(),
  yaml: async () => await (await import("./targets/yaml.ts")).openYaml(),
  model: async () => await (await import("./targets/model.ts")).openModel(),
  onnx: async () => await (await import("./targets/onnx.ts")).openOnnx(),
  filter: async () => await (await import("./targets/filter.ts")).openFilter(),
};
