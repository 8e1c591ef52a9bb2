/**
 * Loaded into a gateway's process before its program (`node --import`): on SIGUSR2 it prints a line that says what the
 * process holds once its garbage was collected. It needs `--expose-gc`.
 */
import { queryObjects } from "node:v8"
import { Effect, Fiber } from "effect"
import { Connection } from "../../src/interception/Connection.ts"
import { WebSocketPeer } from "../../src/upstream/WebSocketPeer.ts"

const fiber = Effect.runFork(Effect.void)
Effect.runSync(Effect.asVoid(Fiber.await(fiber)))

/** How many objects of a class there are; looking collects the garbage first. */
const count = (known: unknown): number => queryObjects(known as () => void, { format: "count" }) as unknown as number

process.on("SIGUSR2", async () => {
  for (let i = 0; i < 3; i++) {
    await globalThis.gc?.({ type: "major", execution: "async" })
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { external, heapUsed } = process.memoryUsage()
  const holding = {
    heap: heapUsed + external,
    handles: process.getActiveResourcesInfo().sort(),
    fibers: count(fiber.constructor),
    connections: count(Connection),
    peers: count(WebSocketPeer)
  }
  process.stdout.write(`\nholding ${JSON.stringify(holding)}\n`)
})
