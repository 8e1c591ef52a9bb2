import { Schema } from "effect"

/**
 * What went wrong with an MCP server. `kind` says what it means for the connection:
 *
 * - `refused`: the server is there and has answered with an error.
 * - `session`: it is there and does not know this session any more; what was asked was not done.
 * - `lost`: it cannot be reached, or the connection broke.
 */
export class McpError extends Schema.TaggedError<McpError>()("McpError", {
  kind: Schema.Literals(["refused", "session", "lost"]),
  /** What went wrong, without credentials. */
  detail: Schema.String
}) {
  override get message() {
    return this.detail
  }
}
