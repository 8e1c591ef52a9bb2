import type { OpenedTurn } from "../upstream/Upstream.ts"

/**
 * The headers of an upstream's answer as its client is shown them: an `openai-model` says what the client asked for,
 * for Codex warns of a rerouted model where it is anything else.
 *
 * @param model what the client called the model, where its upstream was asked for another; else `null`
 */
export const shownHeaders = ({ headers }: OpenedTurn, model: string | null): OpenedTurn["headers"] =>
  model === null || headers["openai-model"] === undefined ? headers : { ...headers, "openai-model": model }
