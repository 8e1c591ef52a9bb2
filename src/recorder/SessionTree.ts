import type { Interception, SessionNode } from "./Records.ts"

interface Growing extends SessionNode {
  readonly children: Array<Growing>
}

/**
 * Interceptions as a tree by their parents, in the order they are given. One whose parent is not among them is a root,
 * and so is one whose parent is not older: parents are older by construction, so a circle could only come from rows that
 * something else wrote.
 */
export const treeOf = (interceptions: ReadonlyArray<Interception>): ReadonlyArray<SessionNode> => {
  const nodes = new Map<string, Growing>()
  for (const interception of interceptions) nodes.set(interception.id, { interception, children: [] })
  const roots: Array<Growing> = []
  for (const node of nodes.values()) {
    const { id, parentId } = node.interception
    const parent = parentId === null || parentId >= id ? undefined : nodes.get(parentId)
    if (parent === undefined) roots.push(node)
    else parent.children.push(node)
  }
  return roots
}
