import { actorKey } from "./ActorKey.ts"
import type { ResponseTurns } from "./Sessions.ts"

/** How many interceptions are remembered at least, the newest; at most they are twice as many. */
const remembered = 5_000

/** Which turns the interceptions of this process had that ended last, by their actor and the id of the first turn. */
export class ResponseChains {
  // Two generations: taking the oldest out of one map, one by one, gets slow in V8.
  private young = new Map<string, ResponseTurns | null>()
  private old = new Map<string, ResponseTurns | null>()

  /** @param turns `null` where there was but one */
  note(actor: string, id: string, turns: ResponseTurns | null): void {
    if (this.young.size >= remembered) {
      this.old = this.young
      this.young = new Map()
    }
    this.young.set(actorKey(actor, id), turns)
  }

  /** `undefined` where none is remembered. */
  find(actor: string, id: string): ResponseTurns | null | undefined {
    const key = actorKey(actor, id)
    const found = this.young.get(key)
    return found === undefined ? this.old.get(key) : found
  }
}
