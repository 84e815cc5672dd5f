import { defaultLimits, type ServeLimits } from "../inference/limits.ts";
import type { ApiKeys } from "./api-keys.ts";

/** Who may ask the service, and for what. */
export interface AccessRules {
  /** Without keys every client may ask, and the model cannot be changed unless `admin` says otherwise. */
  readonly keys?: ApiKeys | undefined;
  /** Who may change the model where there are no keys: no client (`off`), or programs on this machine (`local`). */
  readonly admin?: "off" | "local" | undefined;
  /** Requests a minute of each key, or of each client network without keys; 0: no limit. */
  readonly rateLimitPerMinute?: number | undefined;
  /** Number of proxies in front. The client's address is the one that the outermost of them saw. */
  readonly proxies?: number | undefined;
  /** Web pages of these origins may ask from a browser; none by default. */
  readonly corsOrigins?: readonly string[] | undefined;
  /** Names by which clients reach the service: `serval.example.com`, `proxy:8443`, `*.internal`, `*` for all. */
  readonly allowedHosts?: readonly string[] | undefined;
}

/** When the service answers without a label. */
export interface AbstainRules {
  /** Where the confidence is under the model's threshold or the picture is an unknown input, unless a request says otherwise. */
  readonly whenUnsure: boolean;
}

/** What is decided when a service is started, and the same for all its parts. */
export interface ServeRules {
  readonly limits: ServeLimits;
  readonly access: AccessRules;
  readonly abstain: AbstainRules;
  /** The path below which a proxy shows the service, such as /serval; empty where it shows it at /. */
  readonly basePath: string;
}

export const defaultRules: ServeRules = { limits: defaultLimits, access: {}, abstain: { whenUnsure: false }, basePath: "" };
