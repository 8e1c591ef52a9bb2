import { objectsOf } from "./Json.ts"
import { digest, mark } from "./Marks.ts"

/**
 * What has been said in a conversation up to a place, told in its order and taken in once: the texts of both sides and
 * the ids of calls. Instructions and thoughts are left out, and so is white space, as clients change these between two
 * requests. Two answers that look alike are told apart by it; where a client has shortened its history, nothing is found.
 */
export class Said {
  private so: string
  private user = ""
  private answered: Array<string> = []

  /** @param session the session's id, where one is known: what looks alike in another session is another answer */
  constructor(session: string | null) {
    this.so = session === null ? "" : mark("session", session)
  }

  /** A person said something. Clients cut that into parts, or join those. */
  byUser(content: unknown): void {
    if (typeof content === "string") this.user += withoutSpace(withoutNotes(content))
    else for (const { text } of objectsOf(content)) if (typeof text === "string") this.byUser(text)
  }

  /** The result of a call was brought; in which order those come matters to nobody. */
  byTool(callId: string): void {
    this.answered.push(callId)
  }

  byAssistant(text: string, callIds: ReadonlyArray<string>): void {
    const said = withoutSpace(text)
    if (said !== "" || callIds.length > 0) this.so = digest(`${this.stand()} ${callIds.join(" ")}\n${said}`)
  }

  /** What tells the place from all others; the same until more is said. */
  stand(): string {
    const { answered, user } = this
    if (user !== "" || answered.length > 0) {
      this.so = digest(`${this.so} ${answered.sort().join(" ")}\n${user}`)
      this.user = ""
      this.answered = []
    }
    return this.so
  }
}

/** What clients put into a person's words by themselves, and change later. */
const notes = ["system-reminder", "environment_context", "user_instructions"].map((name) => ({
  from: `<${name}>`,
  to: `</${name}>`
}))

const withoutNotes = (text: string): string => {
  let left = text
  for (const { from, to } of notes) {
    let start = left.indexOf(from)
    if (start < 0) continue
    let said = ""
    let end = 0
    while (start >= 0) {
      const close = left.indexOf(to, start)
      if (close < 0) break
      said += left.slice(end, start)
      end = close + to.length
      start = left.indexOf(from, end)
    }
    left = said + left.slice(end)
  }
  return left
}

/** A text without its white space, which clients trim, join and lay out anew. */
export const withoutSpace = (text: string): string => text.replace(/\s+/g, "")
