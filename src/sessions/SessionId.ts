import type { RequestView } from "../dialect/Dialect.ts"
import type { HeaderMap } from "./Clients.ts"

/** The longest id that is taken; it has to fit a segment of the management API's paths, in any router. */
const longest = 100

/** Printable ASCII with a letter or digit in it. */
const sound = /^(?=.*[A-Za-z0-9])[\x20-\x7e]+$/

/**
 * An id that may be stored, shown and put into a path; `null` where a value is none. Nothing is cut off or replaced: that
 * could make two sessions one.
 */
const idOf = (value: unknown): string | null => {
  if (typeof value !== "string" || value.length > 2 * longest) return null
  const id = value.trim()
  return id.length <= longest && sound.test(id) ? id : null
}

const uuid = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
const claudeUser = new RegExp(`_session_(${uuid})$`, "i")

/** More than Claude Code has ever put there. */
const longestUser = 4096

/**
 * The session in the field for the user that Claude Code fills: `user_<hash>_account_<uuid>_session_<uuid>`, or, since
 * 2.1, the text of a JSON object with `session_id`. What others put there names a person and is no session.
 */
const sessionOfUser = (userId: string | null): string | null => {
  if (userId === null || userId.length > longestUser) return null
  if (!userId.startsWith("{")) return claudeUser.exec(userId)?.[1] ?? null
  try {
    const user: unknown = JSON.parse(userId)
    return typeof user === "object" && user !== null && "session_id" in user ? idOf(user.session_id) : null
  } catch {
    return null
  }
}

/**
 * The id of the session that a call belongs to: the first there is of what clients send, the surest first. `null` where
 * the call names none; a value that could not be an id counts as missing.
 */
export const sessionIdOf = (headers: HeaderMap, said: RequestView["session"]): string | null =>
  idOf(headers["session-id"]) ??
  idOf(headers["thread-id"]) ??
  idOf(headers["x-claude-code-session-id"]) ??
  sessionOfUser(said.userId) ??
  idOf(headers["x-session-affinity"]) ??
  idOf(headers["session_id"]) ??
  idOf(said.cacheKey)
