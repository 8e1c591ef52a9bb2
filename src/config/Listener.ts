import { BlockList, isIP } from "node:net"
import type { SluiceConfig } from "./Config.ts"
import { ConfigError, showValue } from "./ConfigError.ts"

const loopback = new BlockList()
loopback.addSubnet("127.0.0.0", 8, "ipv4")
loopback.addAddress("::1", "ipv6")

/**
 * Whether a host names this machine only: `127.0.0.0/8` (RFC 1122), `::1` (RFC 4291), or `localhost` (RFC 6761).
 * Unusual spellings that a resolver might accept (`127.1`) are not taken for loopback.
 */
export const isLoopback = (host: string): boolean => {
  const bare = host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host
  const version = isIP(bare)
  if (version === 0) return bare.toLowerCase() === "localhost"
  return loopback.check(bare, version === 4 ? "ipv4" : "ipv6")
}

/**
 * The rule of an open listener: where anybody who reaches Sluice may use its keys, only this machine may reach it,
 * unless the config says otherwise.
 *
 * @param file - the file the config came from, for the error
 * @returns why Sluice may not listen with this config, or `null`
 */
export const listenerError = (config: SluiceConfig, file: string | null = null): ConfigError | null =>
  config.access.mode !== "open" || config.server.allow_open || isLoopback(config.server.host)
    ? null
    : new ConfigError({
        file,
        problems: [
          {
            path: "server.host",
            line: null,
            value: showValue(["server", "host"], config.server.host),
            expected:
              "anybody who reaches this address could use the gateway (access.mode is open); " +
              "listen on 127.0.0.1, or say server.allow_open: true if the network is trusted"
          }
        ]
      })
