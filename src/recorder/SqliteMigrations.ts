import type { DatabaseSync } from "node:sqlite"
import { NewerDatabase, RecorderError } from "./RecorderError.ts"

/**
 * The schema, step by step. A step that was released is never edited: what changes is a new step behind it.
 *
 * Rows are clustered by interception, and interceptions by their id, which time orders: what is written together lies
 * together, and neither reading one interception nor listing the newest needs a second index. Records are not STRICT: an
 * odd value in one column is better kept than refused with all that stands beside it.
 */
export const migrations: ReadonlyArray<string> = [
  `
  CREATE TABLE instances (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    spool TEXT NOT NULL,
    started_at INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE interceptions (
    id TEXT PRIMARY KEY,
    instance INTEGER NOT NULL,
    actor TEXT NOT NULL,
    provider TEXT,
    provider_type TEXT,
    requested_model TEXT,
    served_model TEXT,
    dialect TEXT,
    transport TEXT,
    client TEXT NOT NULL,
    session_id TEXT,
    parent_id TEXT,
    user_agent TEXT,
    credential_kind TEXT NOT NULL,
    credential_hint TEXT,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    status TEXT,
    error_code TEXT,
    error_message TEXT
  ) WITHOUT ROWID;
  CREATE INDEX interceptions_open ON interceptions (instance) WHERE status IS NULL;
  CREATE INDEX interceptions_session ON interceptions (session_id, id) WHERE session_id IS NOT NULL;

  CREATE TABLE early_closes (id TEXT PRIMARY KEY, close TEXT NOT NULL) WITHOUT ROWID;

  CREATE TABLE turns (
    interception_id TEXT NOT NULL,
    id TEXT NOT NULL,
    "index" INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    transport TEXT,
    upstream_response_id TEXT,
    served_model TEXT,
    http_status INTEGER,
    status TEXT,
    finish_reason TEXT,
    error_code TEXT,
    error_message TEXT,
    time_to_first_frame_ms REAL,
    duration_ms REAL,
    attempts INTEGER NOT NULL,
    frames_in INTEGER NOT NULL,
    frames_out INTEGER NOT NULL,
    lane TEXT,
    close_code INTEGER,
    close_reason TEXT,
    PRIMARY KEY (interception_id, id)
  ) WITHOUT ROWID;
  CREATE INDEX turns_response ON turns (upstream_response_id) WHERE upstream_response_id IS NOT NULL;

  CREATE TABLE prompts (
    interception_id TEXT NOT NULL,
    turn_id TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (interception_id, turn_id)
  ) WITHOUT ROWID;

  CREATE TABLE usage (
    interception_id TEXT NOT NULL,
    turn_id TEXT NOT NULL,
    input INTEGER,
    output INTEGER,
    cache_read INTEGER,
    cache_write INTEGER,
    reasoning INTEGER,
    other TEXT NOT NULL,
    provenance TEXT NOT NULL,
    raw TEXT,
    cost TEXT,
    currency TEXT,
    price_version TEXT,
    PRIMARY KEY (interception_id, turn_id)
  ) WITHOUT ROWID;

  CREATE TABLE tool_calls (
    interception_id TEXT NOT NULL,
    batch INTEGER NOT NULL,
    place INTEGER NOT NULL,
    turn_id TEXT NOT NULL,
    call_id TEXT,
    name TEXT NOT NULL,
    arguments TEXT NOT NULL,
    injected INTEGER NOT NULL,
    server_url TEXT,
    error_code TEXT,
    error_message TEXT,
    duration_ms REAL,
    PRIMARY KEY (interception_id, batch, place)
  ) WITHOUT ROWID;

  CREATE TABLE thoughts (
    interception_id TEXT NOT NULL,
    batch INTEGER NOT NULL,
    place INTEGER NOT NULL,
    turn_id TEXT NOT NULL,
    text TEXT NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (interception_id, batch, place)
  ) WITHOUT ROWID;
  `,
  // SQLite draws randomblob from a ChaCha20 generator that the operating system seeds.
  `
  CREATE TABLE installation (secret BLOB NOT NULL) STRICT;
  INSERT INTO installation VALUES (randomblob(32));
  `,
  // Threads are followed by the ids of tool calls; some servers give none.
  `
  CREATE INDEX tool_calls_call ON tool_calls (call_id) WHERE call_id <> '';
  `,
  // By its number a memory is found as long as it is the same one: a newer one of its key has another.
  `
  CREATE TABLE memories (
    place INTEGER PRIMARY KEY,
    actor TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    UNIQUE (actor, key)
  );
  CREATE INDEX memories_expiry ON memories (expires_at);
  `,
  // Whether there is any interception with several turns is asked often, and mostly there is none.
  `
  CREATE INDEX turns_later ON turns (interception_id) WHERE "index" > 0;
  `
]

/** The number of the last step that this version knows. */
export const lastMigration = migrations.length

/**
 * Brings a database up to the last step, in one transaction. Throws where it was made by a newer version.
 *
 * @param steps other than the released ones only in tests
 */
export const migrate = (database: DatabaseSync, steps: ReadonlyArray<string> = migrations): void => {
  database.exec("BEGIN IMMEDIATE")
  try {
    database.exec("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, applied_at TEXT NOT NULL) STRICT")
    const row = database.prepare("SELECT coalesce(max(number), 0) AS number FROM migrations").get()
    const found = Number(row?.["number"])
    if (found > steps.length) {
      throw new RecorderError({
        operation: "open the store",
        reason: new NewerDatabase({ found, known: steps.length })
      })
    }
    const note = database.prepare("INSERT INTO migrations VALUES (?, strftime('%Y-%m-%dT%H:%M:%fZ'))")
    for (let number = found + 1; number <= steps.length; number++) {
      database.exec(steps[number - 1]!)
      note.run(number)
    }
    database.exec("COMMIT")
  } catch (cause) {
    if (database.isTransaction) database.exec("ROLLBACK")
    throw cause
  }
}
