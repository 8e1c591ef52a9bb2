const source = `
  const stubborn = process.argv.includes("stubborn")
  if (stubborn) {
    process.on("SIGTERM", () => {})
    setInterval(() => {}, 1000)
  }
  const tools = ["pid", "die", "wait", "tell", "fail"].map((name) => ({ name, inputSchema: { type: "object" } }))
  const answer = (id, result) => process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id, result }) + "\\n")
  let rest = ""
  process.stdin.on("data", (chunk) => {
    const lines = (rest + chunk).split("\\n")
    rest = lines.pop()
    for (const { id, method, params } of lines.map((line) => JSON.parse(line))) {
      if (method === "initialize") {
        const serverInfo = { name: "program", version: "1" }
        answer(id, { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo })
      } else if (method === "tools/list") answer(id, { tools })
      else if (params?.name === "pid") answer(id, { content: [{ type: "text", text: String(process.pid) }] })
      else if (params?.name === "die") process.exit(1)
      else if (params?.name === "tell" || params?.name === "fail") {
        const text = JSON.stringify([process.env, process.argv.slice(1)])
        answer(id, { content: [{ type: "text", text }], isError: params.name === "fail" })
      }
    }
  })
`

/**
 * A small MCP server as a program, for an MCP server's config. Its tool `pid` says what process it is, `die` ends it,
 * `wait` never answers, `tell` and `fail` answer with its environment and arguments, the latter as an error.
 *
 * @param stubborn whether it runs on when its input ends and when it is told to end
 */
export const mcpProgram = (stubborn = false) => ({
  command: process.execPath,
  args: ["-e", source, ...(stubborn ? ["stubborn"] : ["program"])]
})

/** Whether a process is there. */
export const isRunning = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
