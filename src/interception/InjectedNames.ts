/** What the names of injected tools begin with. */
const prefix = "bmcp_"

/** Whether a tool's name is like those that Sluice gives. */
export const isInjectedName = (name: string): boolean => name.startsWith(prefix)

/**
 * The names by which a model calls tools of Sluice: those that were added to the request, and any other that begins like
 * them and that the client did not declare. A model knows such names from the history of its conversation, though their
 * server is not there just now; the client knows nothing of them.
 */
export class InjectedNames extends Set<string> {
  private readonly declared: ReadonlySet<string>

  /**
   * @param names of the tools that were added
   * @param declared names of the client's own tools
   */
  constructor(names: Iterable<string>, declared: ReadonlyArray<string>) {
    super(names)
    // A set of none would mean that there are no injected tools at all.
    this.add(prefix)
    this.declared = new Set(declared.filter(isInjectedName))
  }

  override has(name: string): boolean {
    return super.has(name) || (isInjectedName(name) && !this.declared.has(name))
  }
}
