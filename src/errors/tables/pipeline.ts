/** Stages, and data in versions: cache and remotes. */
export const pipelineErrors = {
  E_PIPELINE: {
    title: "The pipeline in dvc.yaml asks for something that is not valid or not supported.",
    hint: "Correct dvc.yaml at the line that the message names; `serval repro --dry` checks it and runs nothing.",
  },
  E_STAGE_FAILED: {
    title: "A command of a stage failed.",
    hint: "What the command printed stands above. Correct the cause and run `serval repro` again: stages that are done stay done.",
  },
  E_STAGE_INPUT: {
    title: "A stage cannot run because something that it reads is not there.",
    hint: "Bring recorded data back with `serval checkout`; else correct the path in dvc.yaml.",
  },
  E_GIT_REVISION: {
    title: "Git does not know the commit that was asked for.",
    hint: "Name a branch, a tag or a commit: `git log --oneline` lists them.",
  },
  E_DVC_CONFIG: {
    title: "The configuration of DVC asks for something that is not valid or not supported.",
    hint: "Correct .dvc/config or .dvc/config.local (`dvc config`, `dvc remote modify`).",
  },
  E_DVC_FILE: {
    title: "A file that DVC or Serval wrote cannot be read.",
    hint: "Put back the version that Git has, or write it again with `serval add`.",
  },
  E_DATA_PATH: {
    title: "A path cannot be versioned as data.",
    hint: "Name a file or folder of its own inside the repository.",
  },
  E_DATA_UNSAVED: {
    title: "The workspace holds data that no cache has, and that would be lost.",
    hint: "Keep it with `serval add` (or move it away), or give it up with --force.",
  },
  E_CACHE_MISSING: {
    title: "Data is in neither the workspace nor the cache.",
    hint: "Get it from the remote with `serval pull`.",
  },
  E_CACHE_CORRUPT: {
    title: "An object of the cache is not what its name says: its bytes changed.",
    hint: "It was set aside in .dvc/tmp/corrupt. `serval pull` gets it again; where no remote has it, add the data again.",
  },
  E_REMOTE_UNREACHABLE: {
    title: "A remote does not answer, fails or breaks off, however often it is asked.",
    hint: "Check its address and the network, then run the same command again: it goes on where it stopped.",
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
    title: "An object on the remote is not what its name says: its bytes changed. It was not taken.",
    hint: "Remove the object that the message names from the remote, and run `serval push` where the data is whole.",
  },
  E_GC_UNSURE: {
    title: "What a selected version needs cannot be told, so nothing is removed.",
    hint: "Bring its list of files into the cache with `serval pull`, or select versions without it.",
  },
} as const;
