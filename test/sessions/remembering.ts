import { Duration, Effect } from "effect"
import { layer, type SessionSettings, type SessionStore } from "../../src/sessions/Layer.ts"

/** Sessions over a store that knows nothing but what is given. */
export const remembering = (store: Partial<SessionStore>, settings: Partial<SessionSettings> = {}, bytes?: number) =>
  layer(
    {
      toolCalls: () => Effect.succeed([]),
      memories: () => Effect.succeed({ memories: [], next: null }),
      responseTurns: () => Effect.succeed(null),
      ...store
    },
    { memory: true, memory_ttl: Duration.hours(24), ...settings },
    bytes
  )
