import { readFileSync } from "node:fs";
import type { ObjectCannedACL, PutObjectCommandInput, S3ClientConfig, ServerSideEncryption } from "@aws-sdk/client-s3";
import { ServalError } from "../../errors/serval-error.ts";
import type { RemoteConfig } from "../dvc-files/dvc-config.ts";

/** What the environment adds; the SDK reads credentials and profiles from there and from ~/.aws by itself. */
export interface S3Environment {
  readonly endpointUrl?: string | null | undefined;
  readonly region?: string | null | undefined;
}

export interface S3Settings {
  readonly bucket: string;
  /** "" or with a slash at its end. */
  readonly prefix: string;
  readonly client: S3ClientConfig;
  /** What goes with every upload. */
  readonly put: Partial<PutObjectCommandInput>;
}

/** DVC's keys for S3 that are understood: https://doc.dvc.org/user-guide/data-management/remote-storage/amazon-s3 */
export const s3Keys: readonly string[] = [
  "endpointurl",
  "region",
  "profile",
  "access_key_id",
  "secret_access_key",
  "session_token",
  "allow_anonymous_login",
  "use_ssl",
  "ssl_verify",
  "connect_timeout",
  "cache_regions",
  "listobjects",
  "sse",
  "sse_kms_key_id",
  "acl",
  "grant_full_control",
  "grant_read",
  "grant_read_acp",
  "grant_write_acp",
];

/** Throws E_DVC_CONFIG. */
export function readS3Settings(remote: RemoteConfig, env: S3Environment, connectTimeoutMs: number | undefined): S3Settings {
  const [, bucket, path = ""] = /^s3:\/\/([^/]+)(?:\/(.*))?$/.exec(remote.url) ?? [];
  if (bucket === undefined) {
    throw new ServalError("E_DVC_CONFIG", `.dvc/config: the remote "${remote.name}": expected s3://BUCKET/PREFIX, got "${remote.url}".`);
  }
  const prefix = path.replaceAll(/^\/+|(?<!\/)\/+$/g, "");
  const { settings } = remote;
  const isOff = (key: string): boolean => /^(false|0|no|off)$/i.test(settings[key] ?? "");
  const isOn = (key: string): boolean => /^(true|1|yes|on)$/i.test(settings[key] ?? "");
  let endpoint = settings["endpointurl"] ?? env.endpointUrl ?? undefined;
  if (endpoint !== undefined && !/^https?:\/\//.test(endpoint)) endpoint = `${isOff("use_ssl") ? "http" : "https"}://${endpoint}`;
  if (endpoint !== undefined && !URL.canParse(endpoint)) {
    throw new ServalError("E_DVC_CONFIG", `.dvc/config: the remote "${remote.name}": endpointurl: expected an address, got "${endpoint}".`);
  }
  // A private store rarely has regions, but the signature needs one.
  const region = settings["region"] ?? env.region ?? (endpoint === undefined ? undefined : "us-east-1");
  const { access_key_id: accessKeyId, secret_access_key: secretAccessKey, session_token: sessionToken } = settings;
  if ((accessKeyId === undefined) !== (secretAccessKey === undefined)) {
    throw new ServalError(
      "E_DVC_CONFIG",
      `.dvc/config: the remote "${remote.name}": expected both access_key_id and secret_access_key, got only one of them.`,
    );
  }
  const tls = isOff("ssl_verify") ? { rejectUnauthorized: false } : readAuthority(remote);
  return {
    bucket,
    prefix: prefix === "" ? "" : `${prefix}/`,
    client: {
      followRegionRedirects: true,
      ...(region !== undefined && { region }),
      // As boto does: a bucket is a part of the path wherever the endpoint is not Amazon's own.
      ...(endpoint !== undefined && { endpoint, forcePathStyle: true }),
      ...(isOff("use_ssl") && { tls: false }),
      ...(settings["profile"] !== undefined && { profile: settings["profile"] }),
      ...(accessKeyId !== undefined &&
        secretAccessKey !== undefined && {
          credentials: { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) },
        }),
      ...(isOn("allow_anonymous_login") && {
        credentials: { accessKeyId: "", secretAccessKey: "" },
        signer: { sign: (request) => Promise.resolve(request) },
      }),
      requestHandler: {
        ...(connectTimeoutMs !== undefined && { connectionTimeout: connectTimeoutMs }),
        ...(tls !== undefined && { httpsAgent: { keepAlive: true, maxSockets: 50, ...tls } }),
      },
    },
    put: {
      ...(settings["sse"] !== undefined && { ServerSideEncryption: settings["sse"] as ServerSideEncryption }),
      ...(settings["sse_kms_key_id"] !== undefined && { SSEKMSKeyId: settings["sse_kms_key_id"] }),
      ...(settings["acl"] !== undefined && { ACL: settings["acl"] as ObjectCannedACL }),
      ...(settings["grant_full_control"] !== undefined && { GrantFullControl: settings["grant_full_control"] }),
      ...(settings["grant_read"] !== undefined && { GrantRead: settings["grant_read"] }),
      ...(settings["grant_read_acp"] !== undefined && { GrantReadACP: settings["grant_read_acp"] }),
      ...(settings["grant_write_acp"] !== undefined && { GrantWriteACP: settings["grant_write_acp"] }),
    },
  };
}

/** `ssl_verify = PATH`: the authority that issued the certificate of a private store. */
function readAuthority({ name, settings }: RemoteConfig): { readonly ca: Buffer } | undefined {
  const path = settings["ssl_verify"];
  if (path === undefined || /^(true|1|yes|on)$/i.test(path)) return undefined;
  try {
    return { ca: readFileSync(path) };
  } catch (error) {
    throw new ServalError("E_DVC_CONFIG", `.dvc/config: the remote "${name}": ssl_verify: ${(error as Error).message}.`, { cause: error });
  }
}
