/** One row of the error table: what the code means, how HTTP and the shell report it, and what to do next. */
export interface ErrorSpec {
  /** One sentence, without the particulars that the thrown message adds. */
  readonly title: string;
  /** HTTP status that a protocol mapper answers with. */
  readonly status: number;
  /** Process exit code of the CLI. */
  readonly exit: number;
  /** The next step for the person who sees it. */
  readonly hint: string;
}

const table = {
  E_INTERNAL: {
    title: "Something failed that Serval did not foresee.",
    status: 500,
    exit: 1,
    hint: "Report it with the request id or the stack trace that SERVAL_LOG_LEVEL=debug prints.",
  },
  E_USAGE: { title: "The command line is not understood.", status: 400, exit: 2, hint: "Run the command with --help." },
  E_PARAMS: {
    title: "A key or value in the parameters is not valid.",
    status: 400,
    exit: 2,
    hint: "Correct the path that the message names in params.yaml or in --set.",
  },
  E_ENV: {
    title: "An environment variable has a value that is not valid.",
    status: 500,
    exit: 2,
    hint: "Correct or unset the variable that the message names.",
  },
  E_FILE_NOT_FOUND: { title: "A file or folder does not exist.", status: 404, exit: 2, hint: "Check the path." },
  E_PATH_LINK: {
    title: "A folder that would be written to is a link to another place, which you did not allow.",
    status: 409,
    exit: 2,
    hint: "If the link is yours, allow it with --follow-link. If it came with the repository, remove it.",
  },
  E_TEXT_FILE: {
    title: "A text file is larger than any that Serval writes, or is not a file.",
    status: 500,
    exit: 2,
    hint: "Look at what is there; in a repository of somebody else it may be an attack.",
  },
  E_DISK_FULL: {
    title: "There is no room left on the disk.",
    status: 507,
    exit: 1,
    hint: "Free some space and run the same command again: it goes on where it stopped.",
  },
  E_INTERRUPTED: {
    title: "The command was interrupted.",
    status: 503,
    exit: 130,
    hint: "Run it again. A training goes on from its last checkpoint with `serval train --resume`.",
  },

  E_SOURCE: {
    title: "The data source is not one that Serval reads.",
    status: 400,
    exit: 2,
    hint: "Name a zip, a folder with one subfolder per class, an http(s) URL of a zip, or `sample`.",
  },
  E_SOURCE_EMPTY: {
    title: "The data source holds no image in a class folder.",
    status: 400,
    exit: 3,
    hint: "Put the pictures of each class into a folder of its own: rose/1.jpg, tulip/1.jpg.",
  },
  E_ARCHIVE_CORRUPT: {
    title: "The zip archive is damaged or cut off.",
    status: 400,
    exit: 3,
    hint: "Download or pack it again.",
  },
  E_ARCHIVE_UNSAFE: {
    title: "The zip archive holds an entry that would be written outside its folder.",
    status: 400,
    exit: 3,
    hint: "Do not trust this archive. Nothing of it was written.",
  },
  E_ARCHIVE_LIMITS: {
    title: "The zip archive holds more than the limits allow, as a zip bomb does.",
    status: 413,
    exit: 3,
    hint: "If you trust the archive, unpack it yourself and import the folder.",
  },
  E_DOWNLOAD: {
    title: "A download failed.",
    status: 502,
    exit: 1,
    hint: "Run the same command again: it goes on where it stopped.",
  },
  E_DOWNLOAD_MISMATCH: {
    title: "A download differs from the one that was recorded the first time.",
    status: 502,
    exit: 3,
    hint: "If the publisher really changed the file, remove its entry from downloads.lock.json and import again.",
  },
  E_LABEL_MISSING: {
    title: "A file lies in no class folder.",
    status: 400,
    exit: 3,
    hint: "Move it into the folder of its class, or leave it out.",
  },
  E_LABEL_CONFLICT: {
    title: "The same picture lies in the folders of two classes.",
    status: 400,
    exit: 3,
    hint: "Remove the wrong one, or set data.dedupe: true to leave both out.",
  },
  E_CLASS_TOO_SMALL: {
    title: "A class has too few pictures for the split.",
    status: 400,
    exit: 3,
    hint: "Add pictures of this class, or remove its folder.",
  },
  E_MANIFEST_MISSING: {
    title: "There is no imported data yet.",
    status: 404,
    exit: 2,
    hint: "Run `serval data import SOURCE` first.",
  },
  E_MANIFEST_CORRUPT: {
    title: "The manifest of the data cannot be read.",
    status: 500,
    exit: 3,
    hint: "Write it anew with `serval data import data/raw`.",
  },
  E_DATA_CHANGED: {
    title: "A picture is not the one that the manifest describes.",
    status: 409,
    exit: 3,
    hint: "Bring the manifest up to date with `serval data import data/raw`.",
  },
  E_SHARDS_MISSING: {
    title: "There is no prepared data yet.",
    status: 404,
    exit: 2,
    hint: "Run `serval prepare` first.",
  },
  E_SHARDS_CORRUPT: {
    title: "The prepared data is damaged.",
    status: 500,
    exit: 3,
    hint: "Run `serval prepare --force`.",
  },

  E_IMAGE_EMPTY: { title: "The image has zero bytes.", status: 400, exit: 3, hint: "Send or save the picture again." },
  E_IMAGE_FORMAT: {
    title: "The bytes are not an image format that Serval reads.",
    status: 415,
    exit: 3,
    hint: "Use JPEG, PNG, WebP or GIF.",
  },
  E_IMAGE_CORRUPT: {
    title: "The image is damaged or cut off and cannot be decoded.",
    status: 400,
    exit: 3,
    hint: "Export or download the picture again.",
  },
  E_IMAGE_BYTES: {
    title: "The image file is larger than the limit.",
    status: 413,
    exit: 3,
    hint: "Scale the picture down, or raise SERVAL_MAX_BODY_BYTES.",
  },
  E_IMAGE_PIXELS: {
    title: "The image is larger than the limit, in pixels or in bytes when decoded.",
    status: 413,
    exit: 3,
    hint: "Scale the picture down, or raise SERVAL_MAX_PIXELS.",
  },
  E_IMAGE_FRAMES: {
    title: "The animation has more frames than the limit.",
    status: 413,
    exit: 3,
    hint: "Send its first frame.",
  },
  E_IMAGE_COST: {
    title: "Decoding the image takes more time or memory than the limit.",
    status: 422,
    exit: 3,
    hint: "Save the picture again as an ordinary JPEG or PNG, scale it down, or raise SERVAL_MAX_DECODE_MS.",
  },
  E_DECODER: {
    title: "The process that decodes costly images is not running.",
    status: 503,
    exit: 1,
    hint: "Try again. If it does not start again, look at the log, at memory and at the number of processes that may be started.",
  },

  E_GRAPH: {
    title: "A network cannot be built: shapes or names do not fit.",
    status: 500,
    exit: 2,
    hint: "Check train.cropSize and train.channels in params.yaml: maps are halved once a block.",
  },
  E_WEIGHTS: {
    title: "Trained weights do not fit the network.",
    status: 500,
    exit: 1,
    hint: "Train again, or name the architecture and channels that the weights were trained with.",
  },
  E_INIT_MISMATCH: {
    title: "The model that train.init names is another network than the one to train.",
    status: 400,
    exit: 2,
    hint: "Set train.architecture, train.channels and train.blocks to those of the model, or train.init to another model or to nothing.",
  },
  E_TOO_FEW_IMAGES: {
    title: "There are too few pictures to train with.",
    status: 400,
    exit: 3,
    hint: "Import more labelled pictures, then run `serval prepare`.",
  },
  E_CHECKPOINT_CORRUPT: {
    title: "A checkpoint file is damaged.",
    status: 500,
    exit: 1,
    hint: "Remove the file that the message names and resume again, or start a new run.",
  },
  E_RESUME_MISMATCH: {
    title: "A run cannot go on with other parameters or other data.",
    status: 400,
    exit: 2,
    hint: "Put params.yaml and the data back as they were (args.yaml in the run folder has the parameters), or start a new run.",
  },
  E_RUN_NOT_FOUND: {
    title: "There is no such training run.",
    status: 404,
    exit: 2,
    hint: "Look into .serval/runs, or start a new run without --resume.",
  },
  E_TRAIN_DIVERGED: {
    title: "Training diverged: the loss is no longer a number, or stays far above that of guessing.",
    status: 500,
    exit: 1,
    hint: "Start a new run with a lower train.learningRate (a third of it is a good first try; `serval train --find-lr` measures one) or a higher train.warmupEpochs.",
  },
  E_ENGINE_MODEL: {
    title: "The inference engine does not accept the model.",
    status: 500,
    exit: 1,
    hint: "Copy or train the bundle again; a model of another origin must be ONNX with opset 17 or older.",
  },
  E_MODEL_UNSAFE: {
    title: "A model asks for more than computing: other files, custom operators, or unlimited memory.",
    status: 400,
    exit: 3,
    hint: "Do not use it unless you know who made it. Then write it again with its weights inside, and with standard operators only.",
  },
  E_ENGINE_TELEMETRY: {
    title: "The inference engine would send usage data.",
    status: 500,
    exit: 1,
    hint: "Start the program with ORT_DISABLE_TELEMETRY=1 in its environment, or load the model in the main thread first.",
  },
  E_ENGINE_RUN: {
    title: "The inference engine failed while it ran a model.",
    status: 500,
    exit: 1,
    hint: "Report it with the message; SERVAL_LOG_LEVEL=debug prints the cause.",
  },

  E_METRICS: {
    title: "Predictions cannot be measured: their sizes or values do not fit together.",
    status: 500,
    exit: 1,
    hint: "Check that the model and the data have the same classes.",
  },
  E_RESULTS: {
    title: "The results.csv of a run cannot be read.",
    status: 500,
    exit: 1,
    hint: "Correct the line that the message names, or remove the file: a resumed run starts a new one.",
  },
  E_SPLIT_EMPTY: {
    title: "There are no images to evaluate.",
    status: 400,
    exit: 3,
    hint: "Choose another split, or import more images and run `serval prepare`.",
  },
  E_MODEL_DATA: {
    title: "The model and the data do not fit together.",
    status: 400,
    exit: 3,
    hint: "Run `serval prepare` with the parameters that the model was trained with, or evaluate a folder or zip with --data.",
  },

  E_PIPELINE: {
    title: "The pipeline in dvc.yaml asks for something that is not valid or not supported.",
    status: 500,
    exit: 2,
    hint: "Correct dvc.yaml at the line that the message names; `serval repro --dry` checks it and runs nothing.",
  },
  E_STAGE_FAILED: {
    title: "A command of a stage failed.",
    status: 500,
    exit: 1,
    hint: "What the command printed stands above. Correct the cause and run `serval repro` again: stages that are done stay done.",
  },
  E_STAGE_INPUT: {
    title: "A stage cannot run because something that it reads is not there.",
    status: 500,
    exit: 1,
    hint: "Bring recorded data back with `serval checkout`; else correct the path in dvc.yaml.",
  },
  E_GIT_REVISION: {
    title: "Git does not know the commit that was asked for.",
    status: 404,
    exit: 2,
    hint: "Name a branch, a tag or a commit: `git log --oneline` lists them.",
  },
  E_DVC_CONFIG: {
    title: "The configuration of DVC asks for something that is not valid or not supported.",
    status: 500,
    exit: 2,
    hint: "Correct .dvc/config or .dvc/config.local (`dvc config`, `dvc remote modify`).",
  },
  E_DVC_FILE: {
    title: "A file that DVC or Serval wrote cannot be read.",
    status: 500,
    exit: 2,
    hint: "Put back the version that Git has, or write it again with `serval add`.",
  },
  E_DATA_PATH: {
    title: "A path cannot be versioned as data.",
    status: 400,
    exit: 2,
    hint: "Name a file or folder of its own inside the repository.",
  },
  E_DATA_UNSAVED: {
    title: "The workspace holds data that no cache has, and that would be lost.",
    status: 409,
    exit: 1,
    hint: "Keep it with `serval add` (or move it away), or give it up with --force.",
  },
  E_CACHE_MISSING: {
    title: "Data is in neither the workspace nor the cache.",
    status: 404,
    exit: 1,
    hint: "Get it from the remote with `serval pull`.",
  },
  E_CACHE_CORRUPT: {
    title: "An object of the cache is not what its name says: its bytes changed.",
    status: 500,
    exit: 1,
    hint: "It was set aside in .dvc/tmp/corrupt. `serval pull` gets it again; where no remote has it, add the data again.",
  },
  E_REMOTE_UNREACHABLE: {
    title: "A remote does not answer, fails or breaks off, however often it is asked.",
    status: 503,
    exit: 1,
    hint: "Check its address and the network, then run the same command again: it goes on where it stopped.",
  },
  E_REMOTE_REFUSED: {
    title: "A remote refuses a request.",
    status: 502,
    exit: 2,
    hint: "Check the bucket or folder, the credentials and their rights (.dvc/config, .dvc/config.local, AWS_PROFILE, AWS_ACCESS_KEY_ID).",
  },
  E_REMOTE_MISSING: {
    title: "The remote does not have data that the repository records.",
    status: 404,
    exit: 1,
    hint: "Run `serval push` where the data was made, or name another remote with --remote.",
  },
  E_REMOTE_CORRUPT: {
    title: "An object on the remote is not what its name says: its bytes changed. It was not taken.",
    status: 502,
    exit: 1,
    hint: "Remove the object that the message names from the remote, and run `serval push` where the data is whole.",
  },
  E_GC_UNSURE: {
    title: "What a selected version needs cannot be told, so nothing is removed.",
    status: 409,
    exit: 1,
    hint: "Bring its list of files into the cache with `serval pull`, or select versions without it.",
  },

  E_TRACKING_UNREACHABLE: {
    title: "The tracking server does not answer.",
    status: 503,
    exit: 1,
    hint: "Start it, or correct MLFLOW_TRACKING_URI, and run the command again. What a training logged is kept: the next `serval train` sends it.",
  },
  E_TRACKING_REFUSED: {
    title: "The tracking server refused what it was sent.",
    status: 502,
    exit: 1,
    hint: "Look at the server's log. What it did not take is still in the run's folder.",
  },
  E_TRACKING_STORE: {
    title: "The store of the tracking server cannot be used.",
    status: 500,
    exit: 1,
    hint: "Check the folder, or name another one with --store.",
  },

  E_BACKBONE_MISSING: {
    title: "There is no backbone of that name or in that folder.",
    status: 404,
    exit: 2,
    hint: "`serval backbones list` names those that are there, `serval backbones add` adds one; `efficientnet-lite0` comes with Serval.",
  },
  E_BACKBONE_CORRUPT: {
    title: "A file of a backbone is damaged, or belongs to another network.",
    status: 500,
    exit: 1,
    hint: "Copy the backbone again; do not edit its files by hand.",
  },
  E_BACKBONE_EXISTS: {
    title: "There is another backbone of that name.",
    status: 409,
    exit: 2,
    hint: "Choose another name with --name, or remove the one that is there with `serval backbones remove NAME`.",
  },
  E_BACKBONE_UNFIT: {
    title: "A file holds no network that can be a backbone.",
    status: 400,
    exit: 3,
    hint: "docs/backbones.md says which files can be: weights of a network that Serval knows, or an ONNX file with a feature output.",
  },
  E_BACKBONE_PICKLE: {
    title: "The weights are a pickle, which can run any program when it is read. It was not read.",
    status: 400,
    exit: 3,
    hint: "Get the weights as safetensors. Where there are none, and you trust the file: load it in PyTorch with `weights_only=True`, and write it with `safetensors.torch.save_file`.",
  },
  E_BUNDLE_MISSING: {
    title: "There is no model bundle where one is expected, or a part of it is not there.",
    status: 404,
    exit: 2,
    hint: "Train one with `serval train`, or name another with --model.",
  },
  E_BUNDLE_CORRUPT: {
    title: "A file of a model bundle is damaged: it is not what bundle.json says.",
    status: 500,
    exit: 1,
    hint: "Copy or train the bundle again; do not edit its files by hand.",
  },
  E_BUNDLE_NEWER: {
    title: "A model bundle was made by a newer version of Serval.",
    status: 500,
    exit: 1,
    hint: "Update Serval where the model is used.",
  },
  E_BUNDLE_CHECKS: {
    title: "A model does not give the known answers of its own check images.",
    status: 500,
    exit: 1,
    hint: "Do not serve it: train or copy the bundle again, with the installed version of Serval.",
  },
  E_MODEL_REGISTRY: {
    title: "A models:/ address needs a model registry, and none is named.",
    status: 400,
    exit: 2,
    hint: "Set MLFLOW_TRACKING_URI to the address of an MLflow server, or name a bundle folder or a released model.",
  },
  E_REGISTRY_MISSING: {
    title: "The model registry does not have the model, version or alias that is asked for.",
    status: 404,
    exit: 2,
    hint: "`serval models list` shows what it has; `serval models register` adds a version.",
  },
  E_REGISTRY_CORRUPT: {
    title: "A registered model is not the bundle that was registered: its bytes changed. It is not used.",
    status: 502,
    exit: 1,
    hint: "Register the bundle again under a new version, or go back with `serval models rollback`.",
  },
  E_PREDICTIONS: {
    title: "The predictions of two models cannot be compared.",
    status: 400,
    exit: 1,
    hint: "Remove the evaluation folder that is out of date, or run `serval evaluate` on both models with the same data.",
  },
  E_PROMOTION_REFUSED: {
    title: "A model is not good enough to become the champion.",
    status: 409,
    exit: 1,
    hint: "Leave the champion, or promote it all the same with --force --reason TEXT; the reason is recorded.",
  },
  E_PROMOTION_OVERTAKEN: {
    title: "The champion changed while a model was compared with it.",
    status: 409,
    exit: 1,
    hint: "Run the same command again: it compares with the champion of now.",
  },
  E_SAFETENSORS: {
    title: "The bytes are not a valid safetensors file.",
    status: 400,
    exit: 3,
    hint: "Export the weights again.",
  },

  E_MODEL_SIGNATURE: {
    title: "A new version of the model answers with other labels than the one that is served.",
    status: 409,
    exit: 1,
    hint: "Serve it as a service of its own: start another one with --model.",
  },
  E_MODEL_ROLLBACK: {
    title: "There is no version to go back to, or none that is pinned.",
    status: 409,
    exit: 1,
    hint: "A service knows the version that it served before; GET /model shows it as `previous`.",
  },
  E_EXPLAIN: {
    title: "The answers of this model cannot be explained by a class activation map.",
    status: 409,
    exit: 1,
    hint: "Only models that end in average pooling and one linear layer (weights.safetensors: fc.weight) can be; `serval train` makes such.",
  },

  E_INFERENCE_STOPPED: {
    title: "The thread that runs the model stopped.",
    status: 503,
    exit: 1,
    hint: "Try again: it is replaced by itself. If it goes on, look at the log and at memory.",
  },
  E_CLIENT_GONE: {
    title: "The client closed the connection before it had its answer.",
    status: 499,
    exit: 1,
    hint: "Wait longer in the client, or ask for less at once.",
  },
  E_PREDICTION_TIMEOUT: {
    title: "The prediction took longer than the limit.",
    status: 503,
    exit: 1,
    hint: "Try again later, or raise SERVAL_REQUEST_TIMEOUT_MS.",
  },
  E_QUEUE_FULL: {
    title: "The service has as many requests waiting as it may.",
    status: 503,
    exit: 1,
    hint: "Try again after the seconds in Retry-After, or raise SERVAL_QUEUE_LIMIT.",
  },
  E_JOB_STOPPED: {
    title: "A large body was given up while the service read or wrote it.",
    status: 503,
    exit: 1,
    hint: "Send less at once, or tensors as bytes instead of JSON.",
  },
  E_LABEL_UNKNOWN: {
    title: "The label is none of the model's.",
    status: 400,
    exit: 1,
    hint: "GET /model lists the labels.",
  },
  E_FEEDBACK_UNKNOWN: {
    title: "Feedback refers to a prediction that is not stored.",
    status: 404,
    exit: 1,
    hint: "Send the `request_id` of an answer of this service, with a key of the same name where there are keys, and a quarter of a second after it at the earliest where several services share the work.",
  },
  E_PREDICTION_LOG: {
    title: "The predictions cannot be stored, so there can be no feedback to them.",
    status: 503,
    exit: 1,
    hint: "Give the service a state folder that it may write to (SERVAL_STATE_DIR), and room on the disk; then send the feedback again.",
  },
  E_API_KEYS: {
    title: "The file of API keys cannot be used.",
    status: 500,
    exit: 2,
    hint: "One line for each key: a name, a space, and `printf %s KEY | sha256sum` of the key (docs/service.md).",
  },
  E_API_KEY: {
    title: "The request needs an API key.",
    status: 401,
    exit: 1,
    hint: "Send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
  },
  E_FORBIDDEN: {
    title: "The request is not allowed from where it comes.",
    status: 403,
    exit: 1,
    hint: "Set SERVAL_API_KEYS_FILE and send a key, or set SERVAL_ADMIN=local to let programs on the service's own machine change the model.",
  },
  E_RATE_LIMIT: {
    title: "A client asks more often than it may.",
    status: 429,
    exit: 1,
    hint: "Wait for the seconds in Retry-After, or raise SERVAL_RATE_LIMIT.",
  },
  E_TENSOR: {
    title: "The tensors of an inference request do not fit the model.",
    status: 400,
    exit: 1,
    hint: "Compare them with GET /v2/models/NAME.",
  },
  E_MODEL_UNKNOWN: {
    title: "The service does not serve that model, or not that version.",
    status: 404,
    exit: 1,
    hint: "GET /model names the model and the version that it serves.",
  },
  E_PORT_IN_USE: {
    title: "Another program listens on the port already.",
    status: 500,
    exit: 1,
    hint: "Stop it, or choose another port with --port (0 takes a free one).",
  },
  E_REQUEST: { title: "The request is not valid.", status: 400, exit: 1, hint: "Compare it with /docs." },
  E_ROUTE_NOT_FOUND: { title: "There is no such address.", status: 404, exit: 1, hint: "/docs lists what the service answers." },
  E_METHOD: { title: "The address does not take this method.", status: 405, exit: 1, hint: "Use a method from the Allow header." },
  E_MEDIA_TYPE: {
    title: "The service does not take a body of this content type.",
    status: 415,
    exit: 1,
    hint: "Send the image as the multipart field `file` (curl -F file=@image.jpg), or as the body with a content type such as image/jpeg.",
  },
  E_UPLOAD_FIELD: {
    title: "The multipart form does not hold one image file in the field `file`.",
    status: 400,
    exit: 1,
    hint: "Send one image as the field `file`: curl -F file=@image.jpg. The @ is what makes curl send the file itself.",
  },
  E_UPLOAD_BROKEN: {
    title: "The upload ended or broke off before the whole body had arrived.",
    status: 400,
    exit: 1,
    hint: "Send the request again.",
  },
  E_UPLOAD_TIMEOUT: {
    title: "The request did not arrive in time.",
    status: 408,
    exit: 1,
    hint: "Send a smaller picture, or raise SERVAL_UPLOAD_TIMEOUT_MS.",
  },
  E_SMOKE: {
    title: "A running service fails a check from outside.",
    status: 502,
    exit: 1,
    hint: "Look at the log of the service for the request; `serval smoke URL --wait 60` gives it time to start.",
  },
  E_DEPLOY_NOT_READY: {
    title: "A deploy cannot begin: the engine, the configuration or the command line is not ready for it. Nothing was changed.",
    status: 500,
    exit: 2,
    hint: "Correct what the message names and run the same command again.",
  },
  E_DEPLOY_REFUSED: {
    title: "The new version does not serve; the version before does.",
    status: 500,
    exit: 1,
    hint: "The steps above say what failed. Nothing has to be done for the version that serves.",
  },
  E_DEPLOY_DOWN: {
    title: "No version serves: the new one failed, and there is none to go back to, or that one fails too.",
    status: 503,
    exit: 3,
    hint: "Deploy a version that worked: `serval deploy VERSION`.",
  },
  E_ENGINE_COMMAND: {
    title: "The container engine refused or failed a command.",
    status: 502,
    exit: 1,
    hint: "The message holds what the engine said.",
  },
  E_FILES_REFUSED: {
    title: "Some of the files could not be used; the others were.",
    status: 400,
    exit: 3,
    hint: "The lines above say what is wrong with each.",
  },
} as const;

export type ErrorCode = keyof typeof table;

/**
 * Every error that Serval raises on purpose. `docs/errors.md` is generated from this table (`npm run docs`), and a test
 * keeps the two equal. Exit codes: 1 failure, 2 usage or configuration, 3 input data, 130 interrupted.
 */
export const ERRORS: Readonly<Record<ErrorCode, ErrorSpec>> = table;

export interface ServalErrorOptions {
  /** Replaces the table's hint where the place that throws knows a better next step. */
  readonly hint?: string;
  readonly cause?: unknown;
  /** Facts for machines: paths, counts, limits. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The only error class. `message` says what, where, got and expected; `hint` says the next step. */
export class ServalError extends Error {
  override readonly name = "ServalError";
  readonly code: ErrorCode;
  readonly hint: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ServalErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint ?? ERRORS[code].hint;
    this.details = options.details ?? {};
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get exitCode(): number {
    return ERRORS[this.code].exit;
  }
}

/** Gives any thrown value the shape of a ServalError; what we did not foresee becomes E_INTERNAL with its cause kept. */
export function toServalError(error: unknown): ServalError {
  if (error instanceof ServalError) return error;
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  const message = error instanceof Error ? error.message : String(error);
  // EFBIG: the process may not write files this large (ulimit -f); for the person at the keyboard that is the same.
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") return new ServalError("E_DISK_FULL", message, { cause: error });
  if (code === "ENOENT") return new ServalError("E_FILE_NOT_FOUND", message, { cause: error });
  return new ServalError("E_INTERNAL", message, { cause: error });
}
