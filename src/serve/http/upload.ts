import type { Readable } from "node:stream";
import multipart, { type Multipart } from "@fastify/multipart";
import type { FastifyReply, FastifyRequest } from "fastify";
import { ServalError, type ErrorCode } from "../../errors/serval-error.ts";
import type { BodyAccount } from "./body-budget.ts";
import type { ServeApp } from "./context.ts";

/** The form field that holds the image. */
export const fileField = "file";

const binary = { type: "string", format: "binary" } as const;

/** OpenAPI request body of the routes that take one image. */
export const imageBody: Readonly<Record<string, { readonly schema: unknown }>> = {
  "multipart/form-data": {
    schema: { type: "object", required: [fileField], properties: { [fileField]: { ...binary, description: "The image." } } },
  },
  ...Object.fromEntries(
    ["image/jpeg", "image/png", "image/webp", "image/gif", "application/octet-stream"].map((type) => [type, { schema: binary }]),
  ),
};

/** Routes whose bodies stay streams: how much of one is read is decided in `readUpload`. */
export async function registerUploads(app: ServeApp, addRoutes: (scope: ServeApp) => void): Promise<void> {
  await app.register(async (scope: ServeApp) => {
    await scope.register(multipart, { throwFileSizeLimit: false, isPartAFile });
    scope.addContentTypeParser(/^(image\/[\w.+-]+|application\/octet-stream)(?:\s*;|$)/, (_request, _payload, done) => done(null));
    addRoutes(scope);
  });
}

/** Clients that send bytes from memory often leave the file name out: the type of a part says as well that it is a picture. */
function isPartAFile(_field: string | undefined, type: string | undefined, filename: string | undefined): boolean {
  return filename !== undefined || /^(?:image\/|application\/octet-stream\b)/i.test(type ?? "");
}

/**
 * A body over the limit is still read to its end, and thrown away, before the answer: a client that is cut off while it
 * sends may never see the answer. One that announces more than this many times the limit is cut off anyway.
 */
const patience = 4;
/** What a form may have besides its file. */
const formBytes = 1 << 18;
const formLimits = { files: 8, fields: 32, parts: 40, fieldSize: 4096, headerPairs: 64 };
const batchLimits = { ...formLimits, files: 256, parts: 288 };

/**
 * The image of a request: the multipart field `file`, or the body itself. Throws E_IMAGE_BYTES, E_UPLOAD_FIELD,
 * E_UPLOAD_BROKEN or E_QUEUE_FULL; an empty body gives zero bytes.
 */
export async function readUpload(
  request: FastifyRequest,
  reply: FastifyReply,
  maxBytes: number,
  account: BodyAccount,
): Promise<Uint8Array> {
  const announced = Number(request.headers["content-length"] ?? 0);
  // A client that asks first has not sent anything yet.
  const asksFirst = request.headers.expect !== undefined;
  const most = asksFirst ? maxBytes + (request.isMultipart() ? formBytes : 0) : maxBytes * patience;
  if (announced > most) {
    void reply.header("connection", "close");
    throw tooLarge(`announces ${announced} bytes`, maxBytes);
  }
  return request.isMultipart() ? await readForm(request, maxBytes, account) : await readBody(request, maxBytes, account);
}

/** The parts of a form. What is left of the body at the end is thrown away, or the connection would wait for it. */
async function* readParts(request: FastifyRequest, limits: object): AsyncGenerator<Multipart, void> {
  try {
    yield* request.parts({ limits });
  } catch (error) {
    throw formError(error);
  } finally {
    request.raw.unpipe();
    request.raw.resume();
  }
}

async function readForm(request: FastifyRequest, maxBytes: number, account: BodyAccount): Promise<Uint8Array> {
  let image: Uint8Array | undefined;
  let problem: ServalError | undefined;
  const refuse = (code: ErrorCode, message: string): void => void (problem ??= new ServalError(code, message));
  try {
    for await (const part of readParts(request, { ...formLimits, fileSize: maxBytes })) {
      if (part.type === "field") {
        if (part.fieldname === fileField) refuse("E_UPLOAD_FIELD", `The field \`${fileField}\` holds text, not a file.`);
      } else if (part.fieldname !== fileField) {
        refuse("E_UPLOAD_FIELD", `The form has a file in the field ${quote(part.fieldname)}; expected it in \`${fileField}\`.`);
        part.file.resume();
      } else if (image !== undefined) {
        refuse("E_UPLOAD_FIELD", `The form has more than one file in the field \`${fileField}\`; expected one.`);
        part.file.resume();
      } else {
        image = await readFile(part.file, account);
        if (part.file.truncated) problem ??= tooLarge("is larger", maxBytes);
      }
    }
  } catch (error) {
    problem ??= error instanceof ServalError ? error : formError(error);
  }
  if (problem) throw problem;
  if (image === undefined) throw new ServalError("E_UPLOAD_FIELD", `The form has no file in the field \`${fileField}\`.`);
  return image;
}

async function readFile(file: Readable, account: BodyAccount): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of file as AsyncIterable<Buffer>) {
    account.add(chunk.length);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

export interface UploadedFile {
  /** Null where the form gives none. */
  readonly filename: string | null;
  /** Bytes that the account holds for it: its reader gives them back. */
  readonly held: number;
  /** Its bytes, or why they are not taken. */
  readonly image: Uint8Array | ServalError;
}

/**
 * The images of a form with several, as they arrive. Throws E_UPLOAD_FIELD or E_UPLOAD_BROKEN for what is wrong with the
 * form itself, E_MEDIA_TYPE where there is none, and E_QUEUE_FULL.
 */
export async function* readFiles(request: FastifyRequest, maxBytes: number, account: BodyAccount): AsyncGenerator<UploadedFile, void> {
  if (!request.isMultipart()) throw new ServalError("E_MEDIA_TYPE", "The body is one image; expected a form with several.");
  let count = 0;
  try {
    for await (const part of readParts(request, { ...batchLimits, fileSize: maxBytes })) {
      if (part.fieldname !== fileField) {
        if (part.type === "field") continue;
        throw new ServalError(
          "E_UPLOAD_FIELD",
          `The form has a file in the field ${quote(part.fieldname)}; expected it in \`${fileField}\`.`,
        );
      }
      if (part.type === "field") throw new ServalError("E_UPLOAD_FIELD", `The field \`${fileField}\` holds text, not a file.`);
      const bytes = await readFile(part.file, account);
      count++;
      const image = part.file.truncated ? tooLarge("is larger", maxBytes) : bytes;
      yield { filename: (part.filename as string | undefined)?.slice(0, 255) ?? null, held: bytes.length, image };
    }
  } catch (error) {
    // Also of a file that ends too early.
    throw error instanceof ServalError ? error : formError(error);
  }
  if (count === 0) throw new ServalError("E_UPLOAD_FIELD", `The form has no file in the field \`${fileField}\`.`);
}

function formError(error: unknown): ServalError {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "FST_FILES_LIMIT" || code === "FST_FIELDS_LIMIT" || code === "FST_PARTS_LIMIT") {
    return new ServalError("E_UPLOAD_FIELD", `The form has too many parts (${message}).`, { cause: error });
  }
  return new ServalError("E_UPLOAD_BROKEN", `The multipart form cannot be read: ${message}.`, { cause: error });
}

async function readBody({ raw }: FastifyRequest, maxBytes: number, account: BodyAccount): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  let refused: unknown;
  const keep = (chunk: Buffer): void => {
    try {
      account.add(chunk.length);
      chunks.push(chunk);
    } catch (error) {
      refused = error;
      chunks.length = 0;
    }
  };
  await new Promise<void>((resolve, reject) => {
    const broken = (cause?: Error): void =>
      reject(new ServalError("E_UPLOAD_BROKEN", `The body broke off after ${length} bytes.`, { cause }));
    raw.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length > maxBytes) {
        chunks.length = 0;
        account.release();
      } else if (refused === undefined) keep(chunk);
    });
    raw.once("end", resolve).once("error", broken).once("close", broken);
  });
  if (refused !== undefined) throw refused;
  if (length > maxBytes) throw tooLarge(`has ${length} bytes`, maxBytes);
  return Buffer.concat(chunks, length);
}

function tooLarge(what: string, maxBytes: number): ServalError {
  return new ServalError("E_IMAGE_BYTES", `The upload ${what}; at most ${maxBytes} bytes are accepted.`);
}

/** A name from a client, short and escaped, fit for a message. */
function quote(name: string | undefined): string {
  return JSON.stringify((name ?? "").slice(0, 40));
}
