/** The names of tools in the tool loop's suite: what a client may not see has `hidden` in it. */

/** What the server calls the tools that are injected. */
export const hiddenTools = ["hidden_look", "hidden_find", "hidden_slow"] as const

/** What the model calls them. */
export const hiddenNames: ReadonlyArray<string> = hiddenTools.map((name) => `bmcp_scripted_${name}`)

/** A tool that the client declares. */
export const clientTool = "my_edit"
