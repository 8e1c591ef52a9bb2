import { Effect, Layer, Option, SchemaIssue } from "effect"
import { HttpRouter, HttpServerRequest, type HttpServerResponse } from "effect/http"
import { HttpApiBuilder, HttpApiError } from "effect/http-api"
import { Recorder, type RecorderError, type SessionAnswer } from "../recorder/Recorder.ts"
import type { Admit, AdmitAdmin } from "./Admission.ts"
import { AmbiguousSession, Api, ApiGuard, InvalidParameter, NotFound, RecorderUnavailable } from "./Api.ts"
import { errorJson, errorResponse, guarded, methodNotAllowed } from "./Guard.ts"

/** Who is let in. */
export interface ApiRules {
  readonly admit: Admit
  readonly admitAdmin: AdmitAdmin
}

/**
 * The routes of the management API, below `/api`, over the `Recorder`. What is not one of them is answered 404 or 405
 * behind the same rules.
 */
export const layer = (rules: ApiRules) =>
  Layer.mergeAll(
    HttpApiBuilder.layer(Api).pipe(Layer.provide(handlers), Layer.provide(guardLayer(rules))),
    fallback(rules)
  )

/** The admin rule's refusal, if it refuses. */
const refusal = (rules: ApiRules, request: HttpServerRequest.HttpServerRequest) => {
  const verdict = rules.admitAdmin(request.headers["authorization"])
  switch (verdict._tag) {
    case "Allowed":
      return null
    case "Unauthorized":
      return errorResponse(401, "unauthorized", verdict.message, { "www-authenticate": "Bearer" })
    case "Forbidden":
      return errorResponse(403, "forbidden", verdict.message)
  }
}

/** Puts all rules before a handler: the admin rule after the listener's, since a preflight carries no token. */
const behindRules = <E, R>(rules: ApiRules, handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  guarded(
    rules.admit,
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
      const refused = refusal(rules, request)
      return refused === null ? handler : Effect.succeed(refused)
    })
  )

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

/** The longest message about a parameter: it quotes what the client sent. */
const longestMessage = 500

const invalid = (error: HttpApiError.HttpApiSchemaError): InvalidParameter => {
  const message = formatIssues(error.cause.issue)
    .issues.map((issue) => `${issue.path?.map(String).join(".") ?? ""}: ${issue.message}`)
    .join("; ")
  return new InvalidParameter(errorJson("invalid_parameter", message.slice(0, longestMessage)))
}

const guardLayer = (rules: ApiRules) =>
  Layer.succeed(ApiGuard, (handler) =>
    behindRules(
      rules,
      Effect.catch(handler, (error: unknown) => {
        if (!HttpApiError.HttpApiSchemaError.is(error)) return Effect.fail(error as never)
        return error.kind === "Query" || error.kind === "Params" ? Effect.fail(invalid(error)) : unpresentable(error)
      })
    )
  )

/** How much of a path is logged: up to a record's field. Behind that even keys are what somebody wrote. */
const loggedSteps = 3

/** What was recorded has not the form that it is presented in. Where is logged, and not what: people wrote it. */
const unpresentable = (error: HttpApiError.HttpApiSchemaError) => {
  const { issues } = formatIssues(error.cause.issue)
  const places = issues.map(({ path }) => path?.slice(0, loggedSteps).map(String).join(".") ?? "").join(", ")
  return Effect.as(
    Effect.logError("an answer of the management API could not be written", {
      places: places.slice(0, longestMessage)
    }),
    errorResponse(500, "internal_error", "The gateway failed; its log says more.")
  )
}

const unavailable = (error: RecorderError) =>
  Effect.andThen(
    Effect.logWarning("the management API could not read the records", error),
    Effect.fail(
      new RecorderUnavailable(errorJson("recorder_unavailable", "The records cannot be read now; try again later."))
    )
  )

/** A filter that was left empty, as forms and scripts do, is one that was left out. */
const given = (value: string | undefined): string | undefined => (value === "" ? undefined : value)

const handlers = HttpApiBuilder.group(
  Api,
  "records",
  Effect.fnUntraced(function* (group) {
    const recorder = yield* Recorder
    return group.handleAll({
      interceptions: ({ query }) =>
        recorder
          .interceptions({
            limit: query.limit,
            before: given(query.before),
            actor: given(query.actor),
            model: given(query.model),
            session: given(query.session),
            response: given(query.response)
          })
          .pipe(Effect.catch(unavailable)),
      interception: ({ params }) =>
        recorder.interception(params.id).pipe(
          Effect.catch(unavailable),
          Effect.flatMap(
            Option.match({
              onNone: () => Effect.fail(new NotFound(errorJson("not_found", "There is no interception of this id."))),
              onSome: (detail) => Effect.succeed(detail)
            })
          )
        ),
      sessions: ({ query }) =>
        recorder
          .sessions({
            limit: query.limit,
            before: given(query.before),
            actor: given(query.actor),
            client: given(query.client)
          })
          .pipe(Effect.catch(unavailable)),
      session: ({ params, query }) =>
        recorder
          .session({ id: params.id, actor: given(query.actor), limit: query.limit, after: given(query.after) })
          .pipe(Effect.catch(unavailable), Effect.flatMap(sessionOf)),
      usage: ({ query }) =>
        recorder.usage(query.by).pipe(
          Effect.catch(unavailable),
          Effect.map((usage) => ({ usage }))
        )
    })
  })
)

/** How many actors are named to somebody who has to choose one. */
const namedActors = 5

const sessionOf = (answer: SessionAnswer) => {
  switch (answer._tag) {
    case "Found":
      return Effect.succeed(answer.detail)
    case "Missing":
      return Effect.fail(new NotFound(errorJson("not_found", "There is no session of this id.")))
    case "Ambiguous": {
      const { actors } = answer
      const named = actors.slice(0, namedActors).join(", ")
      return Effect.fail(
        new AmbiguousSession(
          errorJson(
            "ambiguous_session",
            `Several actors have a session of this id; say whose with ?actor=: ${named}${actors.length > namedActors ? ", …" : ""}.`
          )
        )
      )
    }
  }
}

/**
 * What is below `/api` and not one of its routes. HEAD is left out, so that the router goes on to the route of the GET.
 */
const fallback = (rules: ApiRules) =>
  HttpRouter.use((router) =>
    Effect.forEach(
      ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const,
      (method) => router.add(method, "/api/*", (request) => behindRules(rules, Effect.succeed(notARoute(request)))),
      { discard: true }
    )
  )

const notARoute = (request: HttpServerRequest.HttpServerRequest): HttpServerResponse.HttpServerResponse => {
  const path = request.url.split("?", 1)[0]!
  return request.method !== "GET" && /^\/api\/((interceptions|sessions)(\/[^/]+)?|usage)$/.test(path)
    ? methodNotAllowed(request.method)
    : errorResponse(
        404,
        "unknown_route",
        "There are /api/interceptions, /api/interceptions/{id}, /api/sessions, /api/sessions/{id} and /api/usage?by=model|actor|day."
      )
}
