import type { Architecture } from "./architecture.ts";
import { cnn4 } from "./cnn4.ts";
import { resnet } from "./resnet.ts";

/** Architectures by the name that train.architecture gives. */
export const ARCHITECTURES: Readonly<Record<string, Architecture>> = { cnn4, resnet };
