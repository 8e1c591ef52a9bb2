import { tooOld } from "./cli/NodeVersion.ts"

// Nothing else may be imported before this: what an older Node does not know it answers with a stack.
const refusal = tooOld(process.versions.node)
if (refusal === null) {
  const { program } = await import("./cli/Program.ts")
  program()
} else {
  console.error(refusal)
  process.exitCode = 1
}
