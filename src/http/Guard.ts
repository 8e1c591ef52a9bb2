import { Effect } from "effect"
import { HttpEffect, HttpServerRequest, HttpServerResponse } from "effect/http"
import type { AdmissionRequest, Admit } from "./Admission.ts"

/** The body of the errors of routes that no dialect owns. */
export const errorJson = (code: string, message: string) => ({ error: { code, message } })

/** An error of such a route. */
export const errorResponse = (
  status: number,
  code: string,
  message: string,
  headers: { readonly [name: string]: string } = {}
): HttpServerResponse.HttpServerResponse => HttpServerResponse.jsonUnsafe(errorJson(code, message), { status, headers })

/** What the listener's rules look at, wherever the request came from. */
const admissionRequest = (request: HttpServerRequest.HttpServerRequest): AdmissionRequest => {
  const source: { readonly url?: unknown; readonly rawHeaders?: unknown } = request.source
  return {
    method: request.method,
    url: typeof source.url === "string" ? source.url : request.url,
    headers: request.headers,
    rawHeaders: Array.isArray(source.rawHeaders) ? source.rawHeaders : undefined
  }
}

/** Puts the listener's rules before a handler. */
export const guarded = <E, R>(
  admit: Admit,
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const verdict = admit(admissionRequest(request))
    switch (verdict._tag) {
      case "Forbidden":
        return Effect.succeed(errorResponse(403, "forbidden", verdict.message))
      case "Preflight":
        return Effect.succeed(HttpServerResponse.empty({ status: 204, headers: verdict.headers }))
      case "Admitted":
        return HttpEffect.withPreResponseHandler(handler, (_, response) =>
          Effect.succeed(HttpServerResponse.setHeaders(response, { ...verdict.cors, "cache-control": "no-store" }))
        )
    }
  })

/** Puts the listener's rules before a handler that only reads: every method but GET and HEAD is answered 405. */
export const guardedRead = <E, R>(
  admit: Admit,
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest.HttpServerRequest> =>
  guarded(
    admit,
    Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ method }) =>
      method === "GET" || method === "HEAD" ? handler : Effect.succeed(methodNotAllowed(method))
    )
  )

/** The answer to a method that a route which only reads does not have. */
export const methodNotAllowed = (method: string): HttpServerResponse.HttpServerResponse =>
  errorResponse(405, "method_not_allowed", `${method} is not allowed here; allowed: GET, HEAD.`, { allow: "GET, HEAD" })
