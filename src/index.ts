/**
 * Sluice, an AI gateway: what an Effect app imports.
 *
 * @example
 * ```ts
 * import { Provider, Recorder, Sluice } from "sluice"
 *
 * const gateway = Sluice.layer({ providers: { openai: Provider.openai({ apiKey }) } })
 * ```
 */
export type { SluiceConfig, SluiceConfigInput } from "./config/Config.ts"
export { ConfigError } from "./config/ConfigError.ts"
export { Settings } from "./config/Settings.ts"
export type { DialectName, TransportName } from "./dialect/Dialect.ts"
export { type Head, type InboundRequest, inboundRequest, Refused } from "./interception/InboundRequest.ts"
export { Answer } from "./interception/Answer.ts"
export { Interception } from "./interception/Interception.ts"
export { type Ended, Observer } from "./interception/Observer.ts"
export { Recorder, RecorderError } from "./recorder/Recorder.ts"
export * as Records from "./recorder/Records.ts"
export * as Sluice from "./Sluice.ts"
export { type InjectedTool, type ToolAnswer, ToolCatalog, type ToolServer } from "./tools/ToolCatalog.ts"
export { type Exchange, type Exchanger, type ExchangeRequest, UpstreamError } from "./upstream/Exchange.ts"
export { Provider } from "./upstream/Provider.ts"
export { Exchangers } from "./upstream/Providers.ts"
export { Upstream } from "./upstream/Upstream.ts"
export { Frame } from "./wire/Frame.ts"
