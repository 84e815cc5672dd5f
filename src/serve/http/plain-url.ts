const origin = /^https?:\/\/[^/?#]*/i;

/**
 * The address of a request as the routes know it: without an origin (a client may send an absolute one), with one slash
 * where there are several, and without the base path. The query stays as it is.
 */
export function plainUrl(url: string, basePath: string): string {
  const queryAt = url.indexOf("?");
  const path = (queryAt === -1 ? url : url.slice(0, queryAt)).replace(origin, "").replaceAll(/\/{2,}/g, "/");
  const query = queryAt === -1 ? "" : url.slice(queryAt);
  const inside = basePath !== "" && (path === basePath || path.startsWith(`${basePath}/`)) ? path.slice(basePath.length) : path;
  return (inside === "" ? "/" : inside) + query;
}
