/** The tool that the SDKs have, to which the model's answers are written. */
export const readFileTool = {
  name: "read_file",
  description: "Reads a file",
  parameters: {
    type: "object" as const,
    properties: { path: { type: "string" as const } },
    required: ["path"],
    additionalProperties: false
  }
}

/** What it says, whatever it is called with. */
export const readFile = (args: unknown): string => `the file ${String(Reflect.get(Object(args), "path"))} says ahoy`
