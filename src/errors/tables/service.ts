/** The HTTP service: its threads, its routes, its model. */
export const serviceErrors = {
  E_MODEL_SIGNATURE: {
    title: "A new version of the model has other labels than the one that is served.",
    hint: "Serve it as a separate service: start another one with --model.",
  },
  E_MODEL_ROLLBACK: {
    title: "There is no version to roll back to, or no pin to remove.",
    hint: "A service knows the version that it served before; GET /model shows it as `previous`.",
  },
  E_EXPLAIN: {
    title: "The answers of this model cannot be explained by a class activation map.",
    hint: "This needs a model that ends in average pooling and one linear layer (weights.safetensors: fc.weight), as `serval train` makes it.",
  },
  E_INFERENCE_STOPPED: {
    title: "The thread that runs the model stopped.",
    hint: "Try again: the thread restarts automatically. If it keeps stopping, check the log and the memory.",
  },
  E_CLIENT_GONE: {
    title: "The client closed the connection before the answer was sent.",
    hint: "Use a longer timeout in the client, or send less at once.",
  },
  E_PREDICTION_TIMEOUT: {
    title: "The prediction took longer than the limit.",
    hint: "Try again later, or raise SERVAL_REQUEST_TIMEOUT_MS.",
  },
  E_QUEUE_FULL: {
    title: "The queue of the service is full.",
    hint: "Try again after the seconds in Retry-After, or raise SERVAL_QUEUE_LIMIT.",
  },
  E_JOB_STOPPED: {
    title: "The service stopped reading or writing a large body.",
    hint: "Send less at once, or tensors as bytes instead of JSON.",
  },
  E_LABEL_UNKNOWN: {
    title: "The model does not have this label.",
    hint: "GET /model lists the labels.",
  },
  E_FEEDBACK_UNKNOWN: {
    title: "The request refers to a prediction that is not stored.",
    hint: "Send the `request_id` of an answer of this service. With API keys, use a key of the same name as for the prediction. With several replicas, wait a quarter of a second after the answer.",
  },
  E_PREDICTION_LOG: {
    title: "The store of predictions cannot be used, so feedback cannot be stored.",
    hint: "Give the service a writable state folder (SERVAL_STATE_DIR) and free disk space, then send the feedback again.",
  },
  E_API_KEYS: {
    title: "The file of API keys cannot be used.",
    hint: "One line for each key: a name, a space, and `printf %s KEY | sha256sum` of the key (docs/service.md).",
  },
  E_API_KEY: {
    title: "The request needs an API key.",
    hint: "Send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
  },
  E_FORBIDDEN: {
    title: "The request is not allowed from where it comes.",
    hint: "Set SERVAL_API_KEYS_FILE and send a key, or set SERVAL_ADMIN=local to let programs on the service's own machine change the model.",
  },
  E_RATE_LIMIT: {
    title: "A client sends more requests than the rate limit allows.",
    hint: "Wait for the seconds in Retry-After, or raise SERVAL_RATE_LIMIT.",
  },
  E_TENSOR: {
    title: "The tensors of an inference request do not fit the model.",
    hint: "Compare them with GET /v2/models/NAME.",
  },
  E_MODEL_UNKNOWN: {
    title: "The service does not serve that model, or not that version.",
    hint: "GET /model names the model and the version that it serves.",
  },
  E_PORT_IN_USE: {
    title: "Another program listens on the port already.",
    hint: "Stop it, or choose another port with --port (0 takes a free one).",
  },
  E_REQUEST: { title: "The request is not valid.", hint: "Compare it with /docs." },
  E_HEADERS_LARGE: {
    title: "The address and the headers of the request are too long.",
    hint: "Send fewer or shorter headers and cookies; pictures and labels belong in the body.",
  },
  E_ROUTE_NOT_FOUND: { title: "The service has no such address.", hint: "/docs lists what the service answers." },
  E_METHOD: { title: "The address does not support this method.", hint: "Use a method from the Allow header." },
  E_MEDIA_TYPE: {
    title: "The service does not accept a body of this content type.",
    hint: "Send the image as the multipart field `file` (curl -F file=@image.jpg), or as the body with a content type such as image/jpeg.",
  },
  E_UPLOAD_FIELD: {
    title: "The multipart form does not have exactly one image file in the field `file`.",
    hint: "Send one image as the field `file`: curl -F file=@image.jpg. The @ is what makes curl send the file itself.",
  },
  E_UPLOAD_BROKEN: {
    title: "The upload ended or broke off before the whole body had arrived.",
    hint: "Send the request again.",
  },
  E_UPLOAD_TIMEOUT: {
    title: "The request did not arrive in time.",
    hint: "Send a smaller picture, or raise SERVAL_UPLOAD_TIMEOUT_MS.",
  },
} as const;
