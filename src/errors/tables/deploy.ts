/** Replacing the version that serves. */
export const deployErrors = {
  E_SMOKE: {
    title: "A running service failed a smoke test.",
    hint: "Find the request in the log of the service. `serval smoke URL --wait 60` gives it time to start.",
  },
  E_DEPLOY_NOT_READY: {
    title: "A deploy cannot begin: the engine, the configuration or the command line is not ready for it. Nothing was changed.",
    hint: "Correct what the message names and run the same command again.",
  },
  E_DEPLOY_REFUSED: {
    title: "The new version was rejected. The previous version serves.",
    hint: "The steps above say what failed. The serving version needs no action.",
  },
  E_DEPLOY_DOWN: {
    title: "No version serves: the new one failed, and the previous one is missing or failed too.",
    hint: "Deploy a version that worked: `serval deploy VERSION`.",
  },
  E_ENGINE_COMMAND: {
    title: "The container engine refused or failed a command.",
    hint: "The message contains the output of the engine.",
  },
} as const;
