import type { ErrorCode } from "../../src/recorder/Records.ts"
import { replyUsage } from "./Dialects.ts"
import type { Setting } from "./WayOut.ts"

export const failed = { status: "failed", provenance: "unknown" } as const
export const cancelled = { status: "cancelled", error: "client_gone", provenance: "unknown" } as const

/** An ending before the whole usage was seen: some dialects say a part of it at the beginning. */
const early = (setting: Setting) => {
  const { earlyUsage } = setting.dialect
  return earlyUsage === undefined
    ? ({ provenance: "unknown" } as const)
    : ({ provenance: "partial", usage: earlyUsage } as const)
}

/** The same as `failed` and `cancelled` where the reply's body was seen, or its first event. */
export const failedEarly = (error: ErrorCode) => (setting: Setting) =>
  ({ status: "failed", error, ...early(setting) }) as const
export const cancelledEarly = (setting: Setting) =>
  ({ status: "cancelled", error: "client_gone", ...early(setting) }) as const

export const whole = { status: "completed", provenance: "provider", usage: replyUsage } as const

export const said = ({ events }: Setting) => events.body.join("")
export const finished = ({ events }: Setting) => events.body.join("") + events.finish.join("")
export const pieces = ({ events }: Setting) => [...events.body, ...events.finish, ...events.after, events.end]

export const limited = (limits: object) => ({ config: { limits } })
export const error = (message: string) => ({ error: { message, type: "t", param: null, code: "c" } })
