import type { ErrorSpec } from "./error-spec.ts";
import { backbonesErrors } from "./tables/backbones.ts";
import { dataErrors } from "./tables/data.ts";
import { deployErrors } from "./tables/deploy.ts";
import { engineErrors } from "./tables/engine.ts";
import { evaluationErrors } from "./tables/evaluation.ts";
import { generalErrors } from "./tables/general.ts";
import { imageErrors } from "./tables/image.ts";
import { modelErrors } from "./tables/model.ts";
import { pipelineErrors } from "./tables/pipeline.ts";
import { registryErrors } from "./tables/registry.ts";
import { scoringErrors } from "./tables/scoring.ts";
import { serviceErrors } from "./tables/service.ts";
import { trackingErrors } from "./tables/tracking.ts";
import { trainingErrors } from "./tables/training.ts";

export type ErrorCode =
  | keyof typeof generalErrors
  | keyof typeof dataErrors
  | keyof typeof imageErrors
  | keyof typeof trainingErrors
  | keyof typeof engineErrors
  | keyof typeof evaluationErrors
  | keyof typeof scoringErrors
  | keyof typeof pipelineErrors
  | keyof typeof trackingErrors
  | keyof typeof backbonesErrors
  | keyof typeof modelErrors
  | keyof typeof registryErrors
  | keyof typeof serviceErrors
  | keyof typeof deployErrors;

/**
 * Every error that Serval raises on purpose: one table a domain, merged. `docs/errors.md` is generated from it, from
 * `serve/http/error-status.ts` and from `cli/exit-codes.ts` (`npm run docs`). A test keeps them equal, and finds a code that
 * two domains have.
 */
export const ERRORS: Readonly<Record<ErrorCode, ErrorSpec>> = {
  ...generalErrors,
  ...dataErrors,
  ...imageErrors,
  ...trainingErrors,
  ...engineErrors,
  ...evaluationErrors,
  ...scoringErrors,
  ...pipelineErrors,
  ...trackingErrors,
  ...backbonesErrors,
  ...modelErrors,
  ...registryErrors,
  ...serviceErrors,
  ...deployErrors,
};
