/** What a worker thread runs: queries and checkpoints, so that neither scans nor `fsync` hold up the event loop. */
import { DatabaseSync } from "node:sqlite"
import { parentPort, workerData } from "node:worker_threads"
import type { ReaderAnswer, ReaderRequest } from "./SqliteReaderClient.ts"
import { SqliteReader } from "./SqliteReader.ts"

const { filename, readOnly } = workerData as { filename: string; readOnly: boolean }
const database = new DatabaseSync(filename, { timeout: 5_000, readOnly })
// Ours are the checkpoints that synchronise: with NORMAL, the log before its pages move and the database behind them.
database.exec("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0")
const reader = new SqliteReader(database)

const answer = ({ call, argument }: ReaderRequest): unknown => {
  if (call === "interceptions") return reader.interceptions(argument)
  if (call === "interception") return reader.interception(argument)
  if (call === "sessions") return reader.sessions(argument)
  if (call === "session") return reader.session(argument)
  if (call === "toolCalls") return reader.toolCalls(argument)
  if (call === "responseTurns") return reader.responseTurns(argument)
  if (call === "usage") return reader.usage(argument)
  return reader.checkpoint()
}

// Nobody knows what was asked: whoever waits is told by the end of this worker.
parentPort?.on("messageerror", (cause) => {
  throw cause
})

parentPort?.on("message", (request: ReaderRequest | "close") => {
  if (request === "close") {
    database.close()
    parentPort?.close()
    return
  }
  const { id } = request
  const reply = (message: ReaderAnswer) => parentPort?.postMessage(message)
  try {
    reply({ id, value: answer(request) })
  } catch (cause) {
    reply({ id, error: cause instanceof Error ? cause.message : String(cause) })
  }
})
