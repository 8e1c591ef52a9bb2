import { createServer } from "node:http"
import { Effect, type Scope } from "effect"
import { listen } from "./LocalServer.ts"

/** A token request as it came. */
export interface TokenRequest {
  readonly authorization: string | undefined
  readonly form: { readonly [name: string]: string }
}

export interface OAuthServer {
  readonly issuer: string
  readonly requests: ReadonlyArray<TokenRequest>
}

/** An authorization server that gives the same access token to everybody, until the scope closes. */
export const oauthServer = (token: string): Effect.Effect<OAuthServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const requests: Array<TokenRequest> = []
    let issuer = ""
    const server = createServer((request, response) => {
      const reply = (value: object) => {
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value))
      }
      if (request.method === "GET" && request.url === "/.well-known/oauth-authorization-server") {
        reply({
          issuer,
          authorization_endpoint: `${issuer}/authorize`,
          token_endpoint: `${issuer}/token`,
          response_types_supported: ["code"],
          grant_types_supported: ["client_credentials"],
          token_endpoint_auth_methods_supported: ["client_secret_basic"]
        })
      } else if (request.method === "POST" && request.url === "/token") {
        let body = ""
        request.on("data", (chunk) => (body += chunk))
        request.on("end", () => {
          const { authorization } = request.headers
          requests.push({ authorization, form: Object.fromEntries(new URLSearchParams(body)) })
          reply({ access_token: token, token_type: "Bearer", expires_in: 3600 })
        })
      } else response.writeHead(404).end()
    })
    issuer = (yield* listen(server)).url
    return { issuer, requests }
  })
