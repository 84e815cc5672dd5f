import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { FastifyBaseLogger, FastifyInstance } from "fastify";
import type { ArtifactFolder } from "./artifact-folder.ts";
import type { ArtifactStore } from "./artifacts.ts";
import type { StoreReader } from "./store-reader.ts";
import type { TrackingStore } from "./store/tracking-store.ts";

/** The server with requests typed by the schemas that validate them. */
export type TrackingApp = FastifyInstance<Server, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>;

/** What every route may use. */
export interface TrackingContext {
  readonly store: TrackingStore;
  /** For what may be large or take long. */
  readonly reader: StoreReader;
  readonly artifacts: ArtifactStore;
  /** Where experiments may keep their files outside the store, when the operator allows it. */
  readonly localArtifacts: ArtifactFolder | undefined;
}
