/** The engine that runs ONNX files. */
export const engineErrors = {
  E_ENGINE_MODEL: {
    title: "The inference engine does not accept the model.",
    hint: "Copy or train the bundle again; a model from elsewhere must be ONNX with opset 17 or older.",
  },
  E_MODEL_UNSAFE: {
    title: "A model needs more than computation: other files, custom operators, or unlimited memory.",
    hint: "Do not use it unless you trust its source. In that case, export it again with its weights inside and with standard operators only.",
  },
  E_ENGINE_TELEMETRY: {
    title: "The inference engine would send usage data.",
    hint: "Start the program with ORT_DISABLE_TELEMETRY=1 in its environment, or load the model in the main thread first.",
  },
  E_ENGINE_RUN: {
    title: "The inference engine failed while it ran a model.",
    hint: "Report it with the message; SERVAL_LOG_LEVEL=debug prints the cause.",
  },
} as const;
