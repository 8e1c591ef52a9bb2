import { createHash } from "node:crypto"

/** The longest name that the providers' APIs take for a tool. */
export const longestName = 64

/** Hexadecimal digits of the digest that tells names apart which would be the same. */
const digestLength = 8

const sanitised = (text: string): string => text.replace(/[^a-zA-Z0-9_-]/g, "_")

const withDigest = (name: string, server: string, tool: string): string => {
  const digest = createHash("sha256").update(`${server}\0${tool}`).digest("hex").slice(0, digestLength)
  return `${name.slice(0, longestName - digestLength - 1)}_${digest}`
}

/**
 * Names the tools of servers as models are told of them: `bmcp_<server>_<tool>` in `[a-zA-Z0-9_-]`, at most 64
 * characters. Where that is too long, or two tools would have one name, a digest of the server's and the tool's own
 * name stands at its end. A name hangs on nothing but the tools that are named, never on their order.
 *
 * @returns the names in the order of the tools
 */
export const toolNames = (
  tools: ReadonlyArray<{ readonly server: string; readonly tool: string }>
): ReadonlyArray<string> => {
  const plain = tools.map(({ server, tool }) => `bmcp_${sanitised(server)}_${sanitised(tool)}`)
  const counts = new Map<string, number>()
  for (const name of plain) counts.set(name, (counts.get(name) ?? 0) + 1)
  return tools.map(({ server, tool }, index) => {
    const name = plain[index]!
    return name.length > longestName || counts.get(name)! > 1 ? withDigest(name, server, tool) : name
  })
}
