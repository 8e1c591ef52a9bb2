/**
 * Where a provider is, and where a client's request to it goes: its path behind the base URL, its query as it came.
 *
 * A base URL that names a version of its own (a segment like `v1` or `v1beta`) takes the place of the client's leading
 * `/v1`, so that both `https://api.openai.com/v1` and `https://api.anthropic.com` work with the paths clients use.
 */
export class Address {
  /** Scheme, host and port. */
  readonly origin: string
  private readonly base: string
  private readonly versioned: boolean
  private readonly query: string

  constructor(baseUrl: URL) {
    this.origin = baseUrl.origin
    this.base = baseUrl.pathname.replace(/\/+$/, "")
    this.versioned = this.base.split("/").some((segment) => /^v[0-9]/.test(segment))
    this.query = baseUrl.search === "?" ? "" : baseUrl.search
  }

  /**
   * The target of a request: path and query.
   *
   * @param path the path behind the provider's name, beginning with a slash
   * @param query the query with its question mark, or empty
   */
  target(path: string, query: string): string {
    const tail = this.versioned && (path === "/v1" || path.startsWith("/v1/")) ? path.slice(3) : path
    // What stands behind a hash never leaves a client; whoever writes one into a query means the character.
    const asked = query.length > 1 ? query.replaceAll("#", "%23") : ""
    if (this.query === "") return `${this.base}${tail}${asked}`
    return asked === "" ? `${this.base}${tail}${this.query}` : `${this.base}${tail}${this.query}&${asked.slice(1)}`
  }
}
