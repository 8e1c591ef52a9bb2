/** Where records are kept. */
export type Store =
  | { readonly kind: "memory" }
  /** Nothing is recorded: for measuring what recording costs. */
  | { readonly kind: "none" }
  | { readonly kind: "sqlite"; readonly path: string }

/**
 * What a `recorder.url` means: `memory:`, or `sqlite:` and a path, relative to the working directory.
 *
 * @returns `undefined` for anything else, `sqlite::memory:` and `sqlite://…` included, whose meaning is not plain
 */
export const storeOf = (url: string): Store | undefined => {
  if (url === "memory:") return { kind: "memory" }
  if (url === "none:") return { kind: "none" }
  const path = /^sqlite:([^:].*)$/.exec(url)?.[1]
  return path === undefined || path.startsWith("//") || path.trim() === "" ? undefined : { kind: "sqlite", path }
}
