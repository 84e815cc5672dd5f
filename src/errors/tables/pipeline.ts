/** Stages, and data in versions: cache and remotes. */
export const pipelineErrors = {
  E_PIPELINE: {
    title: "The pipeline in dvc.yaml asks for something that is not valid or not supported.",
    hint: "Correct dvc.yaml at the line that the message names; `serval repro --dry` checks it without running anything.",
  },
  E_STAGE_FAILED: {
    title: "A command of a stage failed.",
    hint: "The output of the command is above. Correct the cause and run `serval repro` again: finished stages do not run again.",
  },
  E_STAGE_INPUT: {
    title: "A stage cannot run because one of its inputs is missing.",
    hint: "Restore recorded data with `serval checkout`, or correct the path in dvc.yaml.",
  },
  E_GIT_REVISION: {
    title: "Git does not know this commit.",
    hint: "Name a branch, a tag or a commit: `git log --oneline` lists them.",
  },
  E_DVC_CONFIG: {
    title: "The configuration of DVC asks for something that is not valid or not supported.",
    hint: "Correct .dvc/config or .dvc/config.local (`dvc config`, `dvc remote modify`).",
  },
  E_DVC_FILE: {
    title: "A file that DVC or Serval wrote cannot be read.",
    hint: "Restore the version in Git, or write it again with `serval add`.",
  },
  E_DATA_PATH: {
    title: "A path cannot be versioned as data.",
    hint: "Name a file or folder inside the repository that nothing else versions.",
  },
  E_DATA_UNSAVED: {
    title: "The workspace has data that is not in the cache and would be lost.",
    hint: "Keep it with `serval add` (or move it away), or discard it with --force.",
  },
  E_CACHE_MISSING: {
    title: "Data is in neither the workspace nor the cache.",
    hint: "Get it from the remote with `serval pull`.",
  },
  E_CACHE_CORRUPT: {
    title: "An object in the cache does not match its hash: its bytes changed.",
    hint: "It was moved to .dvc/tmp/corrupt. Get it again with `serval pull`. If no remote has it, add the data again.",
  },
  E_REMOTE_UNREACHABLE: {
    title: "A remote does not answer, fails or closes the connection, even after retries.",
    hint: "Check its address and the network, then run the same command again: it continues where it stopped.",
  },
  E_REMOTE_REFUSED: {
    title: "A remote refuses a request.",
    hint: "Check the bucket or folder, the credentials and their rights (.dvc/config, .dvc/config.local, AWS_PROFILE, AWS_ACCESS_KEY_ID).",
  },
  E_REMOTE_MISSING: {
    title: "The remote does not have data that the repository records.",
    hint: "Run `serval push` where the data was made, or name another remote with --remote.",
  },
  E_REMOTE_CORRUPT: {
    title: "An object on the remote does not match its hash: its bytes changed. It was not downloaded.",
    hint: "Remove the object that the message names from the remote, and run `serval push` where the data is intact.",
  },
  E_GC_UNSURE: {
    title: "Serval cannot tell which data a selected version needs, so nothing is removed.",
    hint: "Get its list of files with `serval pull`, or select versions without it.",
  },
} as const;
