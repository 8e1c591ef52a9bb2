import { replyUsage } from "./Dialects.ts"
import type { Setting } from "./WayOut.ts"

export const failed = { status: "failed", provenance: "unknown" } as const
export const cancelled = { status: "cancelled", error: "client_gone", provenance: "unknown" } as const
export const whole = { status: "completed", provenance: "provider", usage: replyUsage } as const

export const said = ({ events }: Setting) => events.body.join("")
export const finished = ({ events }: Setting) => events.body.join("") + events.finish.join("")
export const pieces = ({ events }: Setting) => [...events.body, ...events.finish, ...events.after, events.end]

export const limited = (limits: object) => ({ config: { limits } })
export const error = (message: string) => ({ error: { message, type: "t", param: null, code: "c" } })
