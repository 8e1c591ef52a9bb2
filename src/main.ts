import { setFlagsFromString } from "node:v8"
import { tooOld } from "./cli/NodeVersion.ts"

// Nothing else may be imported before this: what an older Node does not know it answers with a stack.
const refusal = tooOld(process.versions.node)
if (refusal === null) {
  // V8 allocates at once in the old generation what, while a process warms up, seems to live long. What is allocated of a
  // call lives as long as the call does, but there it would keep the rest of its call up to the next full collection:
  // three times the heap, and pauses ten times as long.
  setFlagsFromString("--no-allocation-site-pretenuring")
  const { program } = await import("./cli/Program.ts")
  program()
} else {
  console.error(refusal)
  process.exitCode = 1
}
