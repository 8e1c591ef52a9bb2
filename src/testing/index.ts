/**
 * What tests of an app that embeds Sluice need: a provider that is simulated, one that follows a script, tools made of
 * functions, and a view of what was recorded.
 */
export { simulated } from "../upstream/Simulated.ts"
export { Recordings, type Rows } from "./Recordings.ts"
export {
  type Opening,
  type Outcome,
  type ReceivedRequest,
  Scripted,
  ScriptedUpstream,
  type Step,
  Turn
} from "./Scripted.ts"
export {
  type CallOutcome,
  type ReceivedCall,
  type ScriptedAnswer,
  type ScriptedTool,
  ScriptedTools
} from "./ScriptedTools.ts"
