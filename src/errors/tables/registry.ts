/** Registered versions, and which of them is the champion. */
export const registryErrors = {
  E_MODEL_REGISTRY: {
    title: "A models:/ address needs a model registry, and none is set.",
    hint: "Set MLFLOW_TRACKING_URI to the address of an MLflow server, or name a bundle folder or a released model.",
  },
  E_REGISTRY_MISSING: {
    title: "The model registry does not have this model, version or alias.",
    hint: "`serval models list` shows what it has; `serval models register` adds a version.",
  },
  E_REGISTRY_CORRUPT: {
    title: "A registered model does not match the bundle that was registered: its bytes changed. It is not used.",
    hint: "Register the bundle again under a new version, or go back with `serval models rollback`.",
  },
  E_PROMOTION_REFUSED: {
    title: "A model is not good enough to become the champion.",
    hint: "Keep the champion, or promote the model anyway with --force --reason TEXT; the reason is recorded.",
  },
  E_PROMOTION_OVERTAKEN: {
    title: "The champion changed while a model was compared with it.",
    hint: "Run the same command again: it compares with the current champion.",
  },
} as const;
