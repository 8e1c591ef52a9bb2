import { constants } from "node:fs"
import { appendFile, type FileHandle, open, rm, stat } from "node:fs/promises"
import { Effect, Result, Schema } from "effect"
import { RecorderError } from "./RecorderError.ts"
import { Interception, InterceptionClose, Memory, Prompt, Thought, ToolCall, Turn, Usage } from "./Records.ts"
import type { NumberedBatch, WriteBatches } from "./RecordStore.ts"

const rows = <S extends Schema.Top>(schema: S) => Schema.optionalKey(Schema.Array(Schema.toType(schema)))

/** One line of a spool. Its rows stand as the program carries them, not as the API shows them. */
const Line = Schema.fromJsonString(
  Schema.Struct({
    number: Schema.Natural,
    batch: Schema.Struct({
      opens: rows(Interception),
      turns: rows(Turn),
      prompts: rows(Prompt),
      usage: rows(Usage),
      toolCalls: rows(ToolCall),
      thoughts: rows(Thought),
      memories: rows(Memory),
      closes: rows(InterceptionClose)
    })
  })
)
const decodeLine = Schema.decodeUnknownResult(Line)

/** How much of a spool is read at once, and how many batches of it are written at once. */
const readBytes = 256 * 1024
const writeCount = 25

const attempt = <A>(run: () => Promise<A>) =>
  Effect.tryPromise({ try: run, catch: (cause) => RecorderError.failed("spool", cause) })

/** A line of the spool; `null` where no text can hold it. */
export const lineOf = (entry: NumberedBatch): string | null => {
  try {
    return JSON.stringify({ number: entry.number, batch: entry.batch })
  } catch {
    return null
  }
}

/** Keeps what can neither be written nor is to be thrown away beside the spool, in `<path>.rejected`. */
export const putAside = (path: string, lines: ReadonlyArray<string>): Effect.Effect<void, RecorderError> =>
  attempt(() => appendFile(`${path}.rejected`, `${lines.join("\n")}\n`, { mode: 0o600 }))

/** What replaying did. */
export interface Replayed {
  readonly batches: number
  /** Lines that could not be read, or that the store refused for what is in them. They are kept in `<path>.rejected`. */
  readonly rejected: number
  readonly done: boolean
}

/**
 * A file of batches that the store did not take: JSON, one batch a line. One instance appends to it and replays it, one
 * at a time; another replays it only when that one has ended.
 *
 * A line counts when it is written and synchronised whole. A torn one was never acknowledged and is passed over.
 */
export class Spool {
  readonly path: string
  private handle: FileHandle | undefined
  /** Whether the last append broke off, so that what follows must not stand behind the rest of it. */
  private torn = false
  /** What was replayed of the file so far, in bytes. Replaying twice does no harm, so nobody writes it down. */
  private replayedTo = 0
  private size = 0

  constructor(path: string) {
    this.path = path
  }

  /** Whether the file holds what was not replayed yet, as far as this object knows. */
  get backlog(): boolean {
    return this.size > this.replayedTo
  }

  /** Looks how much another process left in the file. */
  readonly adopt: Effect.Effect<void, RecorderError> = attempt(async () => {
    this.size = await sizeOf(this.path)
    this.replayedTo = 0
  })

  /** Tries whether a new spool can be written, and leaves it empty. */
  readonly probe: Effect.Effect<void, RecorderError> = attempt(async () => {
    const handle = await this.writable()
    await handle.appendFile("\n")
    await handle.datasync()
    await handle.truncate(0)
  }).pipe(
    Effect.mapError(({ reason }) =>
      RecorderError.failed("spool", `the spool (recorder.spool) cannot be written: ${reason.message}`, true)
    )
  )

  /** Appends batches; done when they are on the disk. Answers those that no text can hold, which are not. */
  append(batches: ReadonlyArray<NumberedBatch>): Effect.Effect<ReadonlyArray<NumberedBatch>, RecorderError> {
    return attempt(async () => {
      const handle = await this.writable()
      const unwritable: Array<NumberedBatch> = []
      const { torn } = this
      let text = torn ? "\n" : ""
      for (const entry of batches) {
        const line = lineOf(entry)
        if (line === null) unwritable.push(entry)
        else text += `${line}\n`
      }
      const { size } = await handle.stat()
      this.torn = true
      try {
        await handle.appendFile(text)
        await handle.datasync()
        this.torn = false
        return unwritable
      } catch (cause) {
        // Whoever failed to append tries again: what was written of it is not to be read as a line. A full disk lets it.
        await handle.truncate(size).then(
          () => {
            this.torn = torn
          },
          () => undefined
        )
        throw cause
      } finally {
        this.size = await handle.stat().then(
          (found) => found.size,
          () => this.size
        )
      }
    })
  }

  /** Writes the next piece of the backlog to the store and, at its end, empties the file. */
  replay(write: WriteBatches): Effect.Effect<Replayed, RecorderError> {
    return Effect.gen({ self: this }, function* () {
      const piece = yield* attempt(() => this.readPiece())
      const batches: Array<NumberedBatch> = []
      const rejected: Array<string> = []
      for (const line of piece.lines) {
        if (line.trim() === "") continue
        const decoded = decodeLine(line)
        if (Result.isSuccess(decoded)) batches.push(decoded.success)
        else rejected.push(line)
      }
      let written = 0
      let single = false
      for (let i = 0; i < batches.length; ) {
        const result = yield* Effect.result(write(batches.slice(i, i + (single ? 1 : writeCount))))
        if (Result.isSuccess(result)) {
          i += result.success
          written += result.success
        } else if (result.failure.reason._tag === "StoreFailed" && result.failure.reason.permanent) {
          // One batch is at fault: find it by writing them one by one.
          if (single) rejected.push(JSON.stringify(batches[i++]))
          single = true
        } else return yield* result.failure
      }
      if (rejected.length > 0) {
        yield* putAside(this.path, rejected)
      }
      this.replayedTo += piece.bytes
      const done = !this.backlog
      if (done) yield* attempt(() => this.empty())
      return { batches: written, rejected: rejected.length, done }
    })
  }

  /** Closes the file, and removes it where nothing is left in it. */
  readonly close: Effect.Effect<void> = Effect.ignore(
    attempt(async () => {
      const handle = this.handle
      this.handle = undefined
      await handle?.close()
      if (!this.backlog) await rm(this.path, { force: true })
    })
  )

  private async writable(): Promise<FileHandle> {
    this.handle ??= await open(this.path, constants.O_CREAT | constants.O_APPEND | constants.O_RDWR, 0o600)
    return this.handle
  }

  /** Whole lines from where the last piece ended, and how many bytes those are; at the end also a line without an end. */
  private async readPiece(): Promise<{ readonly lines: ReadonlyArray<string>; readonly bytes: number }> {
    const handle = await this.writable()
    let buffer = Buffer.alloc(0)
    for (;;) {
      const chunk = Buffer.alloc(Math.min(readBytes, this.size - this.replayedTo - buffer.length))
      const { bytesRead } = await handle.read(chunk, 0, chunk.length, this.replayedTo + buffer.length)
      buffer = Buffer.concat([buffer, chunk.subarray(0, bytesRead)])
      const end = this.replayedTo + buffer.length >= this.size || bytesRead === 0
      const bytes = end ? buffer.length : buffer.lastIndexOf(10) + 1
      if (bytes > 0 || end) {
        if (bytesRead === 0) this.size = this.replayedTo + bytes
        return { lines: buffer.toString("utf8", 0, bytes).split("\n"), bytes }
      }
    }
  }

  private async empty(): Promise<void> {
    await this.handle?.truncate(0)
    this.size = 0
    this.replayedTo = 0
    this.torn = false
  }
}

const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    (found) => found.size,
    (cause: NodeJS.ErrnoException) => (cause.code === "ENOENT" ? 0 : Promise.reject(cause))
  )
