import { Context } from "effect"
import type { SluiceConfig } from "./Config.ts"

/** The configuration the running layers were built from. */
export class Settings extends Context.Service<Settings, SluiceConfig>()("sluice/config/Settings") {}
