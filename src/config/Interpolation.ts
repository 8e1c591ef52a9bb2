/** The environment as a record; an absent or undefined variable is unset. */
export type Environment = { readonly [name: string]: string | undefined }

/** A variable that a config asks for and the environment does not have. */
export interface UnsetVariable {
  readonly path: ReadonlyArray<string | number>
  readonly name: string
}

const reference = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g
const wholly = /^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$/

/**
 * Puts the environment's values into the strings of a parsed config.
 *
 * A value that is nothing but `${NAME}` leaves its key (or list element) out when the variable is unset or empty, so
 * that a key may be optional; elsewhere an unset one is reported. `$${` stands for the characters `${`. Values of the
 * environment are taken as they are and not looked into again. A key with nothing behind it is left out, too.
 *
 * @param input - a parsed YAML or JSON value; it is not changed
 * @param environment - the variables to draw on
 */
export const interpolate = (
  input: unknown,
  environment: Environment
): { readonly value: unknown; readonly unset: ReadonlyArray<UnsetVariable> } => {
  const unset: Array<UnsetVariable> = []

  const text = (value: string, path: ReadonlyArray<string | number>): string | undefined => {
    const name = wholly.exec(value)?.[1]
    if (name !== undefined) return environment[name] || undefined
    return value.replace(reference, (match, variable: string | undefined) => {
      if (variable === undefined) return "${"
      const found = environment[variable]
      if (found === undefined) unset.push({ path, name: variable })
      return found ?? match
    })
  }

  const walk = (value: unknown, path: ReadonlyArray<string | number>): unknown => {
    if (typeof value === "string") return text(value, path)
    if (Array.isArray(value)) {
      return value.map((element, index) => walk(element, [...path, index])).filter((element) => element !== undefined)
    }
    if (typeof value !== "object" || value === null) return value ?? undefined
    const entries = Object.entries(value)
      .map(([key, element]) => [key, walk(element, [...path, key])] as const)
      .filter(([, element]) => element !== undefined)
    return Object.fromEntries(entries)
  }

  return { value: walk(input, []), unset }
}
