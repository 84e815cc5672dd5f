import type { Exceptions } from "./rooms.ts";

const routes = "a list of routes: each of them is short";
const closure = "a closure that becomes a class";

/** What breaks a rule of rooms.ts today, and why it may. Whoever mends one removes its entry: the test turns red otherwise. */
export const exceptions: Exceptions = {
  folderCycles: {
    "src/cli": "use cases lie beside the verbs until they have a room",
  },
  crowdedFolders: { "src/cli": "use cases lie beside the verbs until they have a room" },
  longFunctions: {
    "src/charts/reliability-diagram.ts reliabilityDiagram": "one literal: the options of a chart",
    "src/cli/commands/model/train.ts trainModel": "a use case that moves",
    "src/export/export.ts exportBundle": "a bundle's parts, one after the other",
    "src/runtime/inference.ts startInference": closure,
    "src/serve/http/routes/inference-protocol.ts registerInferenceProtocol": routes,
    "src/serve/inference/predict-pool.ts startPredictPool": closure,
    "src/serve/inference/predict-worker.ts servePredictions": closure,
    "src/serve/model/model-slot.ts createModelSlot": closure,
    "src/serve/service.ts startService": "the order in which a service starts and stops",
    "src/train/head/train-head.ts trainHead": "the phases of a training, one after the other",
  },
  blindReads: {},
};
