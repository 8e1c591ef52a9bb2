/**
 * Where a client's request goes: its path behind a provider's base URL, its query as it came.
 *
 * A base URL that names a version of its own (a segment like `v1` or `v1beta`) takes the place of the client's leading
 * `/v1`, so that both `https://api.openai.com/v1` and `https://api.anthropic.com` work with the paths clients use.
 *
 * @param path the path behind the provider's name, beginning with a slash
 * @param query the query with its question mark, or empty
 */
export const upstreamUrl = (baseUrl: URL, path: string, query: string): URL => {
  const base = baseUrl.pathname.replace(/\/+$/, "")
  const versioned = base.split("/").some((segment) => /^v[0-9]/.test(segment))
  const tail = versioned && (path === "/v1" || path.startsWith("/v1/")) ? path.slice(3) : path
  const url = new URL(baseUrl)
  url.pathname = base + tail
  url.search = joinQueries(baseUrl.search, query)
  return url
}

const joinQueries = (own: string, client: string): string => {
  if (own === "" || own === "?") return client
  return client === "" || client === "?" ? own : `${own}&${client.slice(1)}`
}
