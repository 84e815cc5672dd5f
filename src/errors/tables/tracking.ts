/** The tracking server and its client. */
export const trackingErrors = {
  E_TRACKING_UNREACHABLE: {
    title: "The tracking server does not answer.",
    hint: "Start it, or correct MLFLOW_TRACKING_URI, and run the command again. What a training logged is kept: the next `serval train` sends it.",
  },
  E_TRACKING_REFUSED: {
    title: "The tracking server refused a request.",
    hint: "Check the log of the server. What it refused is still in the run's folder.",
  },
  E_TRACKING_STORE: {
    title: "The store of the tracking server cannot be used.",
    hint: "Check the folder, or name another one with --store.",
  },
} as const;
