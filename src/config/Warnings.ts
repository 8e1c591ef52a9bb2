import { isMap, type SluiceConfig } from "./Config.ts"
import { valueAt } from "./Decode.ts"
import { isLoopback } from "./Listener.ts"

/** Client headers that stop at Sluice whatever a config says. */
const neverForwarded =
  /^(authorization|x-api-key|cookie|set-cookie|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|host|content-length|content-encoding|accept-encoding|expect|traceparent|tracestate|baggage|b3|x-b3-.*|x-sluice-.*)$/

/**
 * Keys that a file takes from variables which are not set: leaving the key out then changes who pays, or who may look.
 *
 * @param written - the file as it stands
 * @param input - the file with variables put in
 */
export const unsetSecrets = (written: unknown, input: unknown): ReadonlyArray<string> => {
  const providers = valueAt(written, ["providers"])
  const paths = isMap(providers) ? Object.keys(providers).map((name) => ["providers", name, "api_key"]) : []
  return [...paths, ["server", "admin_token"]].flatMap((path) => {
    const value = valueAt(written, path)
    if (typeof value !== "string" || valueAt(input, path) !== undefined) return []
    const follows = path[0] === "server" ? "/api answers without a token on loopback" : "clients bring their own keys"
    return [`${path.join(".")} is left out, since ${value} is not set: ${follows}`]
  })
}

/**
 * What a valid config asks for and does not get, in words for people.
 *
 * @param input - the config as written, to tell what was asked for from what is so by default
 */
export const warningsOf = (config: SluiceConfig, input: unknown): ReadonlyArray<string> => {
  const warnings: Array<string> = []
  for (const [name, provider] of Object.entries(config.providers)) {
    const path = `providers.${name}`
    const written = valueAt(input, ["providers", name])
    // It is also what a type has by default.
    if (valueAt(written, ["websocket"]) === true && !provider.dialects.includes("openai-responses")) {
      warnings.push(`${path}.websocket does nothing: it goes with openai-responses in dialects`)
    }
    if (provider.websocket_pool && !(provider.websocket && provider.dialects.includes("openai-responses"))) {
      warnings.push(
        `${path}.websocket_pool does nothing: it goes with websocket: true, and openai-responses in dialects`
      )
    }
    if (provider.credentials === "client-first" && provider.api_key === undefined) {
      warnings.push(`${path}.credentials does nothing without api_key: clients bring their own keys anyway`)
    }
    for (const header of provider.forward_headers.filter((header) => neverForwarded.test(header))) {
      warnings.push(`${path}.forward_headers: ${header} never goes on to a provider`)
    }
    if (provider.type === "simulated") {
      for (const key of ["base_url", "api_key"] as const) {
        if (provider[key] !== undefined) warnings.push(`${path}.${key} does nothing: the provider is simulated`)
      }
      if (provider.websocket) warnings.push(`${path}.websocket does nothing: the provider is simulated`)
    }
  }
  for (const [name, server] of Object.entries(config.mcp.servers)) {
    const path = `mcp.servers.${name}`
    const idle =
      server.command === undefined
        ? [server.args.length > 0 && "args", Object.keys(server.env).length > 0 && "env"]
        : [Object.keys(server.headers).length > 0 && "headers", server.oauth !== undefined && "oauth"]
    for (const key of idle.filter((key) => key !== false)) {
      warnings.push(`${path}.${key} does nothing: it goes with ${server.command === undefined ? "command" : "url"}`)
    }
  }
  if (!isLoopback(config.server.host) && config.server.admin_token === undefined) {
    warnings.push("without server.admin_token /api answers 403, because the listener is not on loopback")
  }
  return warnings
}
