import type { FuzzTarget } from "./target.ts";
import { openFilter } from "./targets/filter.ts";
import { openImages } from "./targets/image.ts";
import { openModel } from "./targets/model.ts";
import { openMultipart } from "./targets/multipart.ts";
import { openYaml } from "./targets/yaml.ts";

/** What `npm run long:fuzz` attacks, by name; finds that were mended lie in tests/fixtures/fuzz/NAME. */
export const fuzzTargets: Readonly<Record<string, () => Promise<FuzzTarget>>> = {
  image: openImages,
  multipart: openMultipart,
  yaml: openYaml,
  model: openModel,
  filter: openFilter,
};
