/** The environment, or what stands for it in a test. */
export type Environment = { readonly [name: string]: string | undefined }

/**
 * The proxy to an address as the environment names it, by the rules of undici's `EnvHttpProxyAgent`, so that HTTP and
 * WebSockets go the same way: `https_proxy` for `https`, `http_proxy` else and where that is not set, in either case of
 * letters, unless `no_proxy` lists the host.
 *
 * @param url `http` or `https`
 */
export const proxyFor = (url: URL, environment: Environment): string | null => {
  const named = (name: string) => environment[name] ?? environment[name.toUpperCase()] ?? ""
  const secure = url.protocol === "https:" ? named("https_proxy") : ""
  const proxy = secure === "" ? named("http_proxy") : secure
  return proxy === "" || isExcepted(url, named("no_proxy")) ? null : proxy
}

const isExcepted = (url: URL, exceptions: string): boolean => {
  const host = bare(url.hostname)
  const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port
  return exceptions.split(/[,\s]+/).some((exception) => {
    const [, name, only] = /^(\[.+\]|[^:]*|.*:.*:.*?)(?::(\d+))?$/.exec(exception) ?? []
    if (name === undefined || name === "" || (only !== undefined && only !== port)) return false
    if (name === "*") return true
    // `.example.com` stands for the domain as well, `*.example.com` for what is below it.
    const suffix = bare(name).replace(/^\*?\./, "")
    return host.endsWith(`.${suffix}`) || (host === suffix && !name.startsWith("*"))
  })
}

/** A host in lower case, without the brackets of an IPv6 address and the dot of a full name. */
const bare = (host: string): string =>
  host
    .replace(/^\[(.+)\]$/, "$1")
    .replace(/(.)\.$/, "$1")
    .toLowerCase()
