import { createWriteStream } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { pipeline } from "node:stream/promises";
import { ServalError } from "../../errors/serval-error.ts";
import type { HttpAnswer } from "../../http/client.ts";
import { isSafePath } from "../../safe-path.ts";
import type { Connection } from "./connection.ts";
import { readFields } from "./fields.ts";

export interface ArtifactEntry {
  /** Name inside the folder that was listed. */
  readonly name: string;
  readonly isFolder: boolean;
  readonly sizeBytes: number;
}

/** Files behind the server's artifact proxy. `root` is the `artifact_uri` of a run or model; paths below it have forward slashes. */
export interface ArtifactClient {
  uploadArtifact(root: string, path: string, data: Blob, signal?: AbortSignal): Promise<void>;
  /**
   * Streams a file of at most `maxBytes` to `target`, whose folder is made. Throws E_TRACKING_REFUSED where it is not there or
   * too large; then nothing is left at `target`.
   */
  downloadArtifact(root: string, path: string, target: string, maxBytes: number, signal?: AbortSignal): Promise<void>;
  /** Throws E_TRACKING_REFUSED where a name is not one, or is there twice. */
  listArtifacts(root: string, path?: string, signal?: AbortSignal): Promise<ArtifactEntry[]>;
}

const artifactScheme = "mlflow-artifacts:";
const proxy = "/api/2.0/mlflow-artifacts/artifacts";
const mostListBytes = 8 * 2 ** 20;
const mostUploadAnswerBytes = 2 ** 20;

export function artifactClient({ server, transfer }: Connection): ArtifactClient {
  /** The path of a file on the proxy, each part encoded. */
  const place = (root: string, path: string): string => {
    if (!root.startsWith(artifactScheme)) {
      throw new ServalError(
        "E_TRACKING_REFUSED",
        `${server} does not hand out files itself: it keeps these in ${JSON.stringify(root.slice(0, 200))}.`,
        {
          hint: "Start it with --serve-artifacts, and without --default-artifact-root.",
        },
      );
    }
    const folder = new URL(root).pathname.replace(/^\/+/, "");
    return [...folder.split("/"), ...path.split("/").map(encodeURIComponent)].filter((part) => part !== "").join("/");
  };
  return {
    async uploadArtifact(root, path, body, signal) {
      const use = async (answer: HttpAnswer): Promise<unknown> => await answer.text();
      await transfer(`${proxy}/${place(root, path)}`, { body, maxBytes: mostUploadAnswerBytes, use }, signal);
    },
    async downloadArtifact(root, path, target, maxBytes, signal) {
      await mkdir(dirname(target), { recursive: true });
      const use = async ({ body }: HttpAnswer): Promise<void> => await pipeline(body, createWriteStream(target));
      try {
        await transfer(`${proxy}/${place(root, path)}`, { maxBytes, use }, signal);
      } catch (error) {
        await rm(target, { force: true });
        throw error;
      }
    },
    async listArtifacts(root, path = "", signal) {
      const query = new URLSearchParams({ path: decodeURIComponent(place(root, path)) });
      const use = async (answer: HttpAnswer): Promise<string> => await answer.text();
      const text = await transfer(`${proxy}?${query.toString()}`, { maxBytes: mostListBytes, use }, signal);
      const names = new Set<string>();
      return readFields(text, `${server} answered ${proxy}`).list("files", (file): ArtifactEntry => {
        const listed = file.text("path");
        const name = listed.split("/").at(-1) ?? "";
        // Callers give files on this disk such names.
        if (!isSafePath(name) || names.has(name)) {
          const expected = names.has(name) ? "each name once" : "the name of a file";
          const message = `${server} lists the artifact ${JSON.stringify(listed.slice(0, 200))}: expected ${expected}.`;
          throw new ServalError("E_TRACKING_REFUSED", message, { hint: "Do not trust this server." });
        }
        names.add(name);
        return { name, isFolder: file.flag("is_dir"), sizeBytes: file.number("file_size", 0) };
      });
    },
  };
}
