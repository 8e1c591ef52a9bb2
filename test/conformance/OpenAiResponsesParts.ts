import type { Counts } from "./DialectCase.ts"

/** An event's data. */
export interface Data {
  readonly type: string
  readonly [key: string]: unknown
}

/** A value as one event, named by its `type`. */
export const event = (value: Data): string => `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`

/** The same without an `event:` line. */
export const nameless = (value: object): string => `data: ${JSON.stringify(value)}\n\n`

/** Events with the numbers of their sequence, the second of their members as OpenAI has it. */
export const numbered = (values: ReadonlyArray<Data>): ReadonlyArray<Data> =>
  values.map(({ type, ...rest }, n) => ({ type, sequence_number: n, ...rest }))

/** A response with the members that all of them have. */
export const response = (more: object = {}) => ({
  id: "resp_1",
  object: "response",
  created_at: 1_700_000_000,
  status: "completed",
  error: null,
  incomplete_details: null,
  model: "test-model-2025",
  output: [] as ReadonlyArray<unknown>,
  usage: null as unknown,
  ...more
})

/** The event that ends a stream, by the status of its response. */
export const completed = (more: object = {}) => {
  const whole = response(more)
  return { type: `response.${whole.status}`, response: whole }
}

export const created = { type: "response.created", response: response({ status: "in_progress" }) }

export const textDelta = (delta: string, at = 0) => ({
  type: "response.output_text.delta",
  item_id: "msg_1",
  output_index: at,
  content_index: 0,
  delta,
  logprobs: []
})

export const itemDone = (item: object, at = 0) => ({ type: "response.output_item.done", output_index: at, item })

export const messageItem = (text: string, more: object = {}) => ({
  id: "msg_1",
  type: "message",
  status: "completed",
  content: [{ type: "output_text", annotations: [], logprobs: [], text }],
  role: "assistant",
  ...more
})

export const callItem = (callId: string, name: string, given: string, more: object = {}) => ({
  id: `fc_${callId}`,
  type: "function_call",
  status: "completed",
  arguments: given,
  call_id: callId,
  name,
  ...more
})

export const reasoningItem = (...summary: ReadonlyArray<string>) => ({
  id: "rs_1",
  type: "reasoning",
  summary: summary.map((text) => ({ type: "summary_text", text }))
})

export const usageOf = (counts: Counts) => ({
  input_tokens: counts.input + counts.cacheRead,
  input_tokens_details: { cached_tokens: counts.cacheRead },
  output_tokens: counts.output,
  output_tokens_details: { reasoning_tokens: counts.reasoning },
  total_tokens: counts.input + counts.cacheRead + counts.output
})
