import { createHmac } from "node:crypto"
import { Context, Effect, Layer } from "effect"
import { Recorder } from "../recorder/Recorder.ts"
import type { Credential, CredentialUse } from "../upstream/Upstream.ts"

/** How many keys are remembered with the actor they stand for. */
const remembered = 1024

/** Who is calling: owns everything stored about its calls. */
export class Actors extends Context.Service<
  Actors,
  {
    /**
     * The actor of a call in open mode: `anonymous` with a central key, and with the client's own key `byok:` and 16
     * hexadecimal digits that only this installation derives from it.
     */
    readonly actor: (client: Credential | null, use: CredentialUse) => string
  }
>()("sluice/access/Actors") {
  static readonly layer: Layer.Layer<Actors, never, Recorder> = Layer.effect(
    Actors,
    Effect.map(Recorder, ({ secret }) => {
      const known = new Map<string, string>()
      const derive = (key: string): string => {
        const actor = known.get(key)
        if (actor !== undefined) return actor
        const derived = `byok:${createHmac("sha256", secret).update(key).digest("hex").slice(0, 16)}`
        // Keys are the clients' choice: what is remembered is bounded, the oldest goes first.
        if (known.size >= remembered) known.delete(known.keys().next().value!)
        known.set(key, derived)
        return derived
      }
      return Actors.of({
        actor: (client, use) => (use.kind === "byok" && client !== null ? derive(client.key) : "anonymous")
      })
    })
  )
}
