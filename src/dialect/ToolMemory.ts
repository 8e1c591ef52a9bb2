/**
 * What a client was not shown of an answer, for when it comes back with that answer in its request: the injected calls
 * and their results are put back where they were, so that the model does not forget what its tools told it, and prompt
 * caches go on hitting.
 */
import type { ToolResult } from "./InjectedTools.ts"

/** A turn of an answer, with what was hidden of it. */
export interface HiddenTurn {
  /** The turn's output as its dialect's `output` made it: nothing is hidden in it. */
  readonly output: ReadonlyArray<string>
  /** The ids of its injected calls. */
  readonly injected: ReadonlySet<string>
  /** What those came to; none for a turn that ended the answer without any. */
  readonly results: ReadonlyArray<ToolResult>
  /** The id its upstream gave it: by that a request may go on from it without repeating it. */
  readonly responseId?: string | null
}

/** Something that is kept for its actor until a client comes back. */
export interface MemoryEntry {
  /** At most 64 characters of `[a-zA-Z0-9_-]`. */
  readonly key: string
  /** JSON text. */
  readonly value: string
  /**
   * Whether it has results of a turn that ended on calls of both sides: the upstream waits for these beside the client's,
   * so that they are kept whatever the configuration says.
   */
  readonly owed?: boolean
}

/** How many bytes a request may come to with what is put back, unless another number is given. */
export const recallRoom = 32 * 1024 * 1024

/** Remembering, for one dialect. */
export interface ToolMemory {
  /**
   * What is to be kept of an answer with hidden calls; nothing where it could not be found again, or where a call has no
   * result.
   *
   * @param body the request as its client sent it
   * @param turns all turns of the answer; the last may have client calls beside its injected ones, or no injected ones
   * @param session the id of the session it belongs to, where one is known
   */
  readonly remember: (
    body: Buffer,
    turns: ReadonlyArray<HiddenTurn>,
    session?: string | null
  ) => ReadonlyArray<MemoryEntry>
  /**
   * The request with what was hidden of the answers in it put back: the same buffer where nothing is known of them, and
   * an answer as it stands where it is not what was remembered. Every other byte stays. What was hidden of one answer is
   * put back once at most. An answer is known by its first call, or by its text together with all that was said before
   * it: clients that a central key makes one actor find each other's only where they have said the same.
   *
   * @param find the value that is kept under a key for the request's actor
   * @param room how many bytes the request may come to; one that would be larger stays as it is
   * @param session as it was told to `remember`
   */
  readonly recall: (
    body: Buffer,
    find: (key: string) => string | null,
    room?: number,
    session?: string | null
  ) => Buffer
}
