/** The environment as a record; an absent or undefined variable is unset. */
export type Environment = { readonly [name: string]: string | undefined }

/** A reference to the environment that cannot be followed. */
export interface BrokenReference {
  readonly path: ReadonlyArray<string | number>
  readonly problem: string
}

const name = /^[A-Za-z_][A-Za-z0-9_]*$/
const reference = /\$\$\{|\$\{([^}]*)\}?/g
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
): { readonly value: unknown; readonly broken: ReadonlyArray<BrokenReference> } => {
  const broken: Array<BrokenReference> = []

  const text = (value: string, path: ReadonlyArray<string | number>): string | undefined => {
    const only = wholly.exec(value)?.[1]
    if (only !== undefined) return environment[only] || undefined
    return value.replace(reference, (match, variable: string | undefined) => {
      if (variable === undefined) return "${"
      if (!name.test(variable) || !match.endsWith("}")) {
        broken.push({
          path,
          problem: "expected ${NAME} for a variable of the environment, or $${ for the characters ${"
        })
        return match
      }
      const found = environment[variable]
      if (found === undefined) broken.push({ path, problem: `the environment variable ${variable} is not set` })
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

  return { value: walk(input, []), broken }
}
