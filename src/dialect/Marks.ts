import { hash } from "node:crypto"

/** What tells one part of an answer from others of its kind: parts that share a mark are the same. */
export type Marks = ReadonlyArray<string>

/** Text that is short whatever it is made of. */
export const digest = (text: string): string => hash("sha256", text, "base64url")

/** A mark of something. */
export const mark = (...of: ReadonlyArray<string>): string => digest(JSON.stringify(of))
