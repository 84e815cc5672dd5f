/** Replacing the version that serves. */
export const deployErrors = {
  E_SMOKE: {
    title: "A running service fails a check from outside.",
    hint: "Look at the log of the service for the request; `serval smoke URL --wait 60` gives it time to start.",
  },
  E_DEPLOY_NOT_READY: {
    title: "A deploy cannot begin: the engine, the configuration or the command line is not ready for it. Nothing was changed.",
    hint: "Correct what the message names and run the same command again.",
  },
  E_DEPLOY_REFUSED: {
    title: "The new version does not serve; the version before does.",
    hint: "The steps above say what failed. Nothing has to be done for the version that serves.",
  },
  E_DEPLOY_DOWN: {
    title: "No version serves: the new one failed, and there is none to go back to, or that one fails too.",
    hint: "Deploy a version that worked: `serval deploy VERSION`.",
  },
  E_ENGINE_COMMAND: {
    title: "The container engine refused or failed a command.",
    hint: "The message holds what the engine said.",
  },
} as const;
