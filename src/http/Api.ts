import { Effect, Schema, SchemaTransformation } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware } from "effect/http-api"
import {
  InterceptionDetail,
  InterceptionPage,
  SessionDetail,
  SessionPage,
  UsageKey,
  UsageSum
} from "../recorder/Records.ts"

/** What every error of the management API says: a word for programs and a sentence for people. */
const fields = { error: Schema.Struct({ code: Schema.String, message: Schema.String }) }

/** A parameter has a value that it cannot have. */
export class InvalidParameter extends Schema.Error<InvalidParameter>("sluice/http/Api/InvalidParameter")(fields, {
  httpApiStatus: 400
}) {
  override get message() {
    return this.error.message
  }
}

/** The admin token is missing or wrong. */
export class Unauthorized extends Schema.Error<Unauthorized>("sluice/http/Api/Unauthorized")(fields, {
  httpApiStatus: 401
}) {
  override get message() {
    return this.error.message
  }
}

/** The listener's rules, or those of the management API, do not let this request in. */
export class Forbidden extends Schema.Error<Forbidden>("sluice/http/Api/Forbidden")(fields, { httpApiStatus: 403 }) {
  override get message() {
    return this.error.message
  }
}

/** There is no record of this id. */
export class NotFound extends Schema.Error<NotFound>("sluice/http/Api/NotFound")(fields, { httpApiStatus: 404 }) {
  override get message() {
    return this.error.message
  }
}

/** Several actors have a session of this id, and none was named. */
export class AmbiguousSession extends Schema.Error<AmbiguousSession>("sluice/http/Api/AmbiguousSession")(fields, {
  httpApiStatus: 409
}) {
  override get message() {
    return this.error.message
  }
}

/** The records cannot be read now. */
export class RecorderUnavailable extends Schema.Error<RecorderUnavailable>("sluice/http/Api/RecorderUnavailable")(
  fields,
  { httpApiStatus: 503 }
) {
  override get message() {
    return this.error.message
  }
}

/** The largest page, in interceptions or sessions; that of `sluice records`, too. */
const longestPage = 1000

/** The largest page of a session: a chain of so many calls is nested as deep, which readers have limits for. */
const deepestPage = 500

const limitTo = (most: number) =>
  Schema.String.check(
    Schema.makeFilter((text: string) => /^[1-9]\d{0,3}$/.test(text) && Number(text) <= most, {
      message: `expected a whole number from 1 to ${most}`
    })
  ).pipe(Schema.decodeTo(Schema.Finite, SchemaTransformation.transform({ decode: Number, encode: String })))

const Limit = limitTo(longestPage)

const filter = Schema.optionalKey(Schema.String)

/** Pages go on from an interception, by its id (RFC 9562, section 4); empty is left out. */
const cursor = Schema.optionalKey(
  Schema.String.check(
    Schema.makeFilter((text: string) => text === "" || /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(text), {
      message: "expected the `next` of the page before"
    })
  )
)

/** Guards the management API: the listener's rules, the admin token, and what its parameters may be. */
export class ApiGuard extends HttpApiMiddleware.Service<ApiGuard>()("sluice/http/ApiGuard", {
  error: [InvalidParameter, Unauthorized, Forbidden]
}) {}

const interceptions = HttpApiEndpoint.get("interceptions", "/interceptions", {
  query: {
    /** How many at most. */
    limit: Limit.pipe(Schema.withDecodingDefaultKey(Effect.succeed("50"))),
    /** The `next` of the page before. */
    before: cursor,
    actor: filter,
    /** As it was asked for, or as it was served. */
    model: filter,
    session: filter,
    /** An upstream response id. */
    response: filter
  },
  success: InterceptionPage,
  error: RecorderUnavailable
})

const interception = HttpApiEndpoint.get("interception", "/interceptions/:id", {
  params: { id: Schema.String },
  success: InterceptionDetail,
  error: [NotFound, RecorderUnavailable]
})

const sessions = HttpApiEndpoint.get("sessions", "/sessions", {
  query: {
    /** How many at most. */
    limit: Limit.pipe(Schema.withDecodingDefaultKey(Effect.succeed("50"))),
    /** The `next` of the page before. */
    before: cursor,
    actor: filter,
    /** `claude-code`, `codex`, … */
    client: filter
  },
  success: SessionPage,
  error: RecorderUnavailable
})

const session = HttpApiEndpoint.get("session", "/sessions/:id", {
  params: { id: Schema.String },
  query: {
    /** Whose session: needed only where several actors have one of this id. */
    actor: filter,
    /** How many interceptions at most. */
    limit: limitTo(deepestPage).pipe(Schema.withDecodingDefaultKey(Effect.succeed("200"))),
    /** The `next` of the page before. */
    after: cursor
  },
  success: SessionDetail,
  error: [NotFound, AmbiguousSession, RecorderUnavailable]
})

const usage = HttpApiEndpoint.get("usage", "/usage", {
  query: {
    /** What is summed by. */
    by: UsageKey.pipe(Schema.withDecodingDefaultKey(Effect.succeed("model" as const)))
  },
  success: Schema.Struct({ usage: Schema.Array(UsageSum) }),
  error: RecorderUnavailable
})

/** What was recorded, for reading. */
export class RecordsGroup extends HttpApiGroup.make("records", { topLevel: true })
  .add(interceptions, interception, sessions, session, usage)
  .prefix("/api")
  .middleware(ApiGuard) {}

/**
 * The management API. A typed client is made from it alone:
 *
 * @example
 * ```ts
 * const page = Effect.gen(function* () {
 *   const client = yield* HttpApiClient.make(Api, { baseUrl: "http://127.0.0.1:4141" })
 *   return yield* client.interceptions({ query: { limit: 10 } })
 * })
 * ```
 */
export class Api extends HttpApi.make("sluice").add(RecordsGroup) {}
