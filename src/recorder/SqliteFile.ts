import { accessSync, constants, existsSync, statSync } from "node:fs"
import { dirname, resolve } from "node:path"
import type { DatabaseSync } from "node:sqlite"
import { Effect } from "effect"
import { codeOf, isBusy } from "./InstanceLock.ts"
import { NewerDatabase, RecorderError, StoreBusy } from "./RecorderError.ts"
import { lastMigration } from "./SqliteMigrations.ts"

/** Why files cannot be put into a directory, or `null` where they can. */
export const directoryProblem = (directory: string): string | null => {
  if (!existsSync(directory)) return `the directory ${directory} does not exist`
  if (!statSync(directory).isDirectory()) return `${directory} is not a directory`
  return isWritable(directory) ? null : `this user may not write to the directory ${directory}`
}

const isWritable = (path: string): boolean => {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** What SQLite answers where a file is something else, or damaged: `SQLITE_CORRUPT` and `SQLITE_NOTADB`. */
const notDatabase = new Set([11, 26])

/**
 * Words why a database cannot be opened: which one, which setting names it, and what is in the way.
 *
 * @param filename - absolute
 */
export const openError = (filename: string, cause: unknown): RecorderError => {
  if (cause instanceof RecorderError) return cause
  if (isBusy(cause)) return new RecorderError({ operation: "open the store", reason: new StoreBusy() })
  const fault = faultOf(filename, cause)
  return RecorderError.failed("open the store", `${filename} (recorder.url): ${fault}`, true)
}

const faultOf = (filename: string, cause: unknown): string => {
  if (notDatabase.has(codeOf(cause))) return "it is not a SQLite database, or it is damaged"
  const directory = directoryProblem(dirname(filename))
  if (directory !== null) return directory
  if (existsSync(filename)) {
    if (statSync(filename).isDirectory()) return "it is a directory"
    if (!isWritable(filename)) return "this user may not write to it"
  }
  return cause instanceof Error ? cause.message : String(cause)
}

/**
 * Looks into a database that is there without changing it, and fails where this version of Sluice cannot read it.
 *
 * @param filename - relative to the working directory
 */
export const inspect = (filename: string): Effect.Effect<void, RecorderError> =>
  Effect.suspend(() => {
    const path = resolve(filename)
    const failed = (detail: string) =>
      Effect.fail(RecorderError.failed("open the store", `${path} (recorder.url): ${detail}`, true))
    if (!existsSync(path)) return failed("there is no such file; it is made when the gateway first serves")
    const found = Effect.try({ try: () => migrationOf(path), catch: (cause) => openError(path, cause) })
    return Effect.flatMap(found, (number) => {
      if (number === null) return failed("it is a SQLite database, but not one of Sluice's")
      if (number > lastMigration) {
        const reason = new NewerDatabase({ found: number, known: lastMigration })
        return Effect.fail(new RecorderError({ operation: "open the store", reason }))
      }
      return number < lastMigration
        ? failed("it was made by an older version; `sluice serve` brings it up to date")
        : Effect.void
    })
  })

/** The last step that brought a database up to date; `null` where it is none of Sluice's. */
const migrationOf = (path: string): number | null => {
  const { DatabaseSync } = process.getBuiltinModule("node:sqlite")
  const database: DatabaseSync = new DatabaseSync(path, { readOnly: true, timeout: 5_000 })
  try {
    const table = database.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'").get()
    if (table === undefined) return null
    return Number(database.prepare("SELECT coalesce(max(number), 0) AS number FROM migrations").get()?.["number"])
  } finally {
    database.close()
  }
}
