import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { ServalError } from "../../errors.ts";
import { isSafePath } from "../../safe-path.ts";
import type { Connection } from "./connection.ts";

export interface ArtifactEntry {
  /** Name inside the folder that was listed. */
  readonly name: string;
  readonly isFolder: boolean;
  readonly sizeBytes: number;
}

/** Files behind the server's artifact proxy. `root` is the `artifact_uri` of a run or model; paths below it have forward slashes. */
export interface ArtifactClient {
  uploadArtifact(root: string, path: string, data: Blob, signal?: AbortSignal): Promise<void>;
  /** Streams a file to `target`, whose folder is made. Throws E_TRACKING_REFUSED where it is not there. */
  downloadArtifact(root: string, path: string, target: string, signal?: AbortSignal): Promise<void>;
  listArtifacts(root: string, path?: string, signal?: AbortSignal): Promise<ArtifactEntry[]>;
}

const artifactScheme = "mlflow-artifacts:";
const proxy = "/api/2.0/mlflow-artifacts/artifacts";

export function artifactClient({ server, transfer }: Connection): ArtifactClient {
  /** The path of a file on the proxy, each part encoded. */
  const place = (root: string, path: string): string => {
    if (!root.startsWith(artifactScheme)) {
      throw new ServalError("E_TRACKING_REFUSED", `${server} hands no files through: it keeps these in ${root}.`, {
        hint: "Start it with --serve-artifacts, and without --default-artifact-root.",
      });
    }
    const folder = new URL(root).pathname.replace(/^\/+/, "");
    return [...folder.split("/"), ...path.split("/").map(encodeURIComponent)].filter((part) => part !== "").join("/");
  };
  return {
    async uploadArtifact(root, path, data, signal) {
      await transfer("PUT", `${proxy}/${place(root, path)}`, data, async (response) => await response.text(), signal);
    },
    async downloadArtifact(root, path, target, signal) {
      await mkdir(dirname(target), { recursive: true });
      const store = async ({ body }: Response): Promise<void> => {
        const source = body === null ? Readable.from([]) : Readable.fromWeb(body);
        await pipeline(source, createWriteStream(target));
      };
      await transfer("GET", `${proxy}/${place(root, path)}`, undefined, store, signal);
    },
    async listArtifacts(root, path = "", signal) {
      const query = new URLSearchParams({ path: decodeURIComponent(place(root, path)) });
      const read = async (response: Response): Promise<unknown> => await response.json();
      const answer = (await transfer("GET", `${proxy}?${query.toString()}`, undefined, read, signal)) as {
        files?: { path: string; is_dir: boolean; file_size?: number }[];
      };
      return (answer.files ?? []).map((file) => {
        const name = file.path.split("/").at(-1) ?? file.path;
        // Callers give files on this disk such names.
        if (!isSafePath(name)) {
          throw new ServalError(
            "E_TRACKING_REFUSED",
            `${server} lists the artifact ${JSON.stringify(file.path)}: expected the name of a file.`,
            {
              hint: "Do not trust this server.",
            },
          );
        }
        return { name, isFolder: file.is_dir, sizeBytes: file.file_size ?? 0 };
      });
    },
  };
}
