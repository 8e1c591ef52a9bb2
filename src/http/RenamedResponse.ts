import type { RequestView } from "../dialect/Dialect.ts"
import { replaced } from "../dialect/openai-responses/FrameEdit.ts"
import { openAiResponses } from "../dialect/openai-responses/OpenAiResponses.ts"
import { decode } from "../interception/stages/Decode.ts"
import { compose, type Stage } from "../interception/stages/Stage.ts"
import type { TransportName } from "../dialect/Dialect.ts"
import type { Frame } from "../wire/Frame.ts"
import { type JsonPath, locateAll } from "../wire/JsonSpan.ts"

/** A response under another id than its upstream knows it by. */
export interface Renaming {
  /** The upstream's id. */
  readonly from: string
  /** The id that is shown. */
  readonly to: string
}

/** A stage that shows a stored response as its client knows it. */
export interface ResponseView extends Renaming {
  /** The names of injected tools, which the response repeats, and of whose calls its client knows nothing. */
  readonly injected: ReadonlySet<string>
}

/** Where a body, and where an event, says which response it is. */
const bodyPaths: ReadonlyArray<JsonPath> = [["id"]]
const eventPaths: ReadonlyArray<JsonPath> = [["response", "id"], ["response_id"]]

/**
 * A stage that shows a response, or its stream, under the id that its client knows, and without what Sluice added: only
 * that changes.
 *
 * @param limit the largest body or event that is read; a larger one goes on as it is
 */
export const renamed = (view: ResponseView, transport: TransportName, limit: number): Stage<Buffer, Frame> => {
  const renaming: Renaming = view
  const from = Buffer.from(renaming.from)
  const to = Buffer.from(JSON.stringify(renaming.to))
  const rename = (frame: Frame): Frame => {
    if (frame.kind === "comment" || frame.kind === "part" || !frame.bytes.includes(from)) return frame
    const data = frame.dataBytes
    const spans = locateAll(data, frame.kind === "body" ? bodyPaths : eventPaths).filter((span) => span !== null)
    const named = spans.filter(({ end, start }) => data.subarray(start + 1, end - 1).equals(from))
    return replaced(
      frame,
      named.map((span) => ({ span, raw: to }))
    )
  }
  const decoded = decode(transport, limit, noEvents)
  const shown = view.injected.size === 0 ? decoded : compose(decoded, withheld(view.injected))
  if (renaming.from === renaming.to) return shown
  return compose(shown, {
    push: (frames, out) => {
      for (const frame of frames) out.push(rename(frame))
    },
    end: () => undefined
  })
}

/** What a turn's reader makes of it: the response as if there were no injected tools. */
const withheld = (injected: ReadonlySet<string>): Stage<Frame, Frame> => {
  const asked = openAiResponses.view(Buffer.from('{"model":"","input":""}')) as RequestView
  const reader = openAiResponses.turn({ asked, injected })
  return {
    push: (frames, out) => {
      for (const frame of frames) {
        if (reader.ended) out.push(frame)
        else reader.push(frame, out)
        if (reader.ended && reader.holding) reader.release(out)
      }
    },
    end: (out) => reader.end(false, out)
  }
}

const noEvents: ReadonlySet<string> = new Set()

/** An error body that speaks of a response under the id that is shown. */
export const renamedText = ({ from, to }: Renaming, body: Buffer): Buffer =>
  // Latin-1 maps bytes to characters and back one to one.
  body.includes(from) ? Buffer.from(body.toString("latin1").replaceAll(from, to), "latin1") : body
