import type { Frame } from "../../wire/Frame.ts"
import type { ToolDefinition, ToolResult } from "../InjectedTools.ts"

export const injectTools = (body: Buffer, _tools: ReadonlyArray<ToolDefinition>): Buffer => body

export const forbidTools = (body: Buffer): Buffer => body

export const continueWith = (
  _body: Buffer,
  _output: ReadonlyArray<string>,
  _results: ReadonlyArray<ToolResult>
): Buffer | null => null

export const output = (_frames: ReadonlyArray<Frame>): ReadonlyArray<string> | null => null
