import type { HeaderMap } from "../upstream/Upstream.ts"

/** What only concerns the connection that it came with. */
const socketBeta = /^\s*responses_websockets=/

/** The headers of a handshake as those of a request with a body. */
export const postHeaders = (headers: HeaderMap): HeaderMap => {
  const { "openai-beta": betas, ...rest } = headers
  const kept = [betas ?? []]
    .flat()
    .flatMap((beta) => beta.split(","))
    .filter((beta) => !socketBeta.test(beta))
  const beta = kept.length === 0 ? {} : { "openai-beta": kept.join(",").trim() }
  return { ...rest, ...beta, "content-type": "application/json" }
}
