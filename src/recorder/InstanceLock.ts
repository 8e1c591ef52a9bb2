import { existsSync, rmSync } from "node:fs"
import type { DatabaseSync } from "node:sqlite"

/** The part of `node:sqlite` that is loaded when a SQLite store is opened, and not before. */
export type Sqlite = typeof import("node:sqlite")

/**
 * Tells whether an instance is alive: it holds a lock of the operating system for as long as its process runs, however
 * that ends. Neither a process id nor a heartbeat can say that: ids are reused and differ between containers, and a
 * heartbeat is silent while a machine sleeps.
 *
 * Node has no such lock, SQLite does: the instance keeps an exclusive transaction open on an empty database of its own.
 * Within one process SQLite itself keeps the holders apart.
 */
export class InstanceLock {
  private readonly database: DatabaseSync
  private readonly path: string

  private constructor(database: DatabaseSync, path: string) {
    this.database = database
    this.path = path
  }

  /** Takes the lock; `null` where its holder lives. Throws where the file cannot be made. */
  static take(sqlite: Sqlite, path: string): InstanceLock | null {
    const database = new sqlite.DatabaseSync(path, { timeout: 0 })
    try {
      database.exec("BEGIN EXCLUSIVE")
      return new InstanceLock(database, path)
    } catch (cause) {
      database.close()
      if (isBusy(cause)) return null
      throw cause
    }
  }

  /** Gives the lock up; with `remove`, for good. */
  release(remove: boolean): void {
    this.database.close()
    if (remove && existsSync(this.path)) rmSync(this.path)
  }
}

/** Whether SQLite threw because another connection holds a lock: `SQLITE_BUSY` or `SQLITE_LOCKED`, extended or not. */
export const isBusy = (cause: unknown): boolean => {
  const code = codeOf(cause)
  return code === 5 || code === 6
}

/**
 * Whether a row was refused for what is in it, so that it always will be: too big, constraint, mismatch and range, and
 * what the driver did not even give to SQLite.
 */
export const isRowFault = (cause: unknown): boolean => [0, 18, 19, 20, 25].includes(codeOf(cause))

/** SQLite's primary result code; 0 where something else threw. */
export const codeOf = (cause: unknown): number =>
  cause instanceof Error && "errcode" in cause ? Number(cause.errcode) & 0xff : 0
