/** What any part of Serval may meet. */
export const generalErrors = {
  E_INTERNAL: {
    title: "An unexpected error happened.",
    hint: "Report it with the request id or the stack trace that SERVAL_LOG_LEVEL=debug prints.",
  },
  E_USAGE: { title: "The command line is not valid.", hint: "Run the command with --help." },
  E_PARAMS: {
    title: "A key or value in the parameters is not valid.",
    hint: "Correct the path that the message names in params.yaml or in --set.",
  },
  E_ENV: {
    title: "An environment variable has a value that is not valid.",
    hint: "Correct or unset the variable that the message names.",
  },
  E_NODE_VERSION: {
    title: "Serval runs with a Node that is older than it needs.",
    hint: "Install Node 24, or run `npm install node@24` in your project: `npx serval` then uses that version.",
  },
  E_FILE_NOT_FOUND: { title: "A file or folder does not exist.", hint: "Check the path." },
  E_PATH_LINK: {
    title: "A link leads to a place that you did not allow.",
    hint: "If the link is yours, allow it with --follow-link. If it came with the repository, remove it.",
  },
  E_TEXT_FILE: {
    title: "A text file is larger than any that Serval writes, or is not a file.",
    hint: "Look at the file: in somebody else's repository it may be an attack.",
  },
  E_DISK_FULL: {
    title: "The disk is full.",
    hint: "Free some space and run the same command again: it continues where it stopped.",
  },
  E_INTERRUPTED: {
    title: "The command was interrupted.",
    hint: "Run it again. A training continues from its last checkpoint with `serval train --resume`.",
  },
  E_FILES_REFUSED: {
    title: "Some of the files could not be used; the others were.",
    hint: "The lines above say what is wrong with each.",
  },
} as const;
