/** An error as Sluice itself reports it to a client, before a dialect gives it its form. */
export interface GatewayError {
  /** The HTTP status, or the status an in-stream error stands for. */
  readonly status: number
  /** A word for programs, such as `model_not_found`. */
  readonly code: string
  /** A sentence for people. Never holds a credential. */
  readonly message: string
  /** The part of the request at fault. */
  readonly param: string | null
  /** Seconds after which trying again makes sense. */
  readonly retryAfter: number | null
}

/** An error with the fields most errors lack left out. */
export const gatewayError = (
  status: number,
  code: string,
  message: string,
  more: { readonly param?: string | null; readonly retryAfter?: number } = {}
): GatewayError => ({ status, code, message, param: more.param ?? null, retryAfter: more.retryAfter ?? null })

/** The `type` that OpenAI's errors of a status carry. */
export const openAiErrorType = (status: number): string => {
  if (status === 401) return "authentication_error"
  if (status === 403) return "permission_error"
  if (status === 429) return "rate_limit_error"
  return status >= 500 ? "server_error" : "invalid_request_error"
}
