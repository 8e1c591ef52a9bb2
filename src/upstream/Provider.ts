import type { Redacted } from "effect"
import type { ProviderInput } from "../config/Config.ts"

/** What may be said of any provider; see the `providers` section of the configuration. */
export type ProviderOptions = Omit<ProviderInput, "type" | "base_url" | "api_key"> & {
  /** With a key all calls are made with it; without one clients bring their own. */
  readonly apiKey?: string | Redacted.Redacted<string>
  readonly baseUrl?: string
}

const provider = (type: ProviderInput["type"], options: ProviderOptions): ProviderInput => {
  const { apiKey, baseUrl, ...rest } = options
  return {
    type,
    ...rest,
    ...(apiKey === undefined ? {} : { api_key: apiKey }),
    ...(baseUrl === undefined ? {} : { base_url: baseUrl })
  }
}

/**
 * Entries for `providers`, where Sluice is configured in code.
 *
 * @example
 * ```ts
 * Sluice.layer({
 *   providers: {
 *     openai: Provider.openai({ apiKey: process.env.OPENAI_API_KEY }),
 *     local: Provider.openaiCompatible({ baseUrl: "http://127.0.0.1:8000/v1" }),
 *     sim: Provider.simulated()
 *   }
 * })
 * ```
 */
export const Provider = {
  /** OpenAI itself, or what is just like it. */
  openai: (options: ProviderOptions = {}): ProviderInput => provider("openai", options),
  anthropic: (options: ProviderOptions = {}): ProviderInput => provider("anthropic", options),
  /** A server with OpenAI's Chat Completions; `dialects` names what else it speaks. */
  openaiCompatible: (options: ProviderOptions & { readonly baseUrl: string }): ProviderInput =>
    provider("openai-compatible", options),
  /** The built-in imitation of a provider. It needs no network and costs nothing. */
  simulated: (options: Omit<ProviderOptions, "apiKey" | "baseUrl"> = {}): ProviderInput =>
    provider("simulated", options)
}
