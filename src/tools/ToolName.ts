import { createHash } from "node:crypto"

/** The longest name that the providers' APIs take for a tool. */
export const longestName = 64

/**
 * Hexadecimal digits of the digest that tells names apart which would be the same, and of longer ones for those that
 * are the same nevertheless: whoever names tools can know what a digest will be, and find two with one short digest.
 */
const digestLengths = [0, 8, 16, 40] as const

const sanitised = (text: string): string => text.replace(/[^a-zA-Z0-9_-]/g, "_")

interface Naming {
  readonly plain: string
  readonly digest: () => string
  /** Which of `digestLengths` its name has. */
  length: number
  name: string
}

const nameWith = ({ digest, plain }: Naming, length: number): string => {
  const digits = digestLengths[length]!
  return digits === 0 ? plain : `${plain.slice(0, longestName - digits - 1)}_${digest().slice(0, digits)}`
}

/** Those of the shortest digest among namings of one name, where a longer one can still tell them apart. */
const toLengthen = (namings: ReadonlyArray<Naming>): ReadonlyArray<Naming> => {
  if (namings.length < 2) return []
  const shortest = Math.min(...namings.map(({ length }) => length))
  return shortest === digestLengths.length - 1 ? [] : namings.filter(({ length }) => length === shortest)
}

/**
 * Names the tools of servers as models are told of them: `bmcp_<server>_<tool>` in `[a-zA-Z0-9_-]`, at most 64
 * characters. Where that is too long, or two tools would have one name, a digest of the server's and the tool's own
 * name stands at its end. A name hangs on nothing but the tools that are named, never on their order, and no two are
 * the same unless one server has two tools of one name.
 *
 * @returns the names in the order of the tools
 */
export const toolNames = (
  tools: ReadonlyArray<{ readonly server: string; readonly tool: string }>
): ReadonlyArray<string> => {
  const namings = tools.map(({ server, tool }): Naming => {
    const plain = `bmcp_${sanitised(server)}_${sanitised(tool)}`
    const digest = () => createHash("sha256").update(`${server}\0${tool}`).digest("hex")
    const naming = { plain, digest, length: plain.length > longestName ? 1 : 0, name: plain }
    naming.name = nameWith(naming, naming.length)
    return naming
  })
  // Every round lengthens a digest, or is the last.
  for (;;) {
    const same = Map.groupBy(namings, ({ name }) => name)
    const changing = [...same.values()].flatMap(toLengthen)
    if (changing.length === 0) return namings.map(({ name }) => name)
    for (const naming of changing) {
      naming.length++
      naming.name = nameWith(naming, naming.length)
    }
  }
}
