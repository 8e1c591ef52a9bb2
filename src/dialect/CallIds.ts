/**
 * The ids by which the calls of one turn are answered. Providers refuse two results under one id, and a result without
 * any; so a call that has no id gets one, and one that has the id of a call before it another. The same pieces make the
 * same ids, whoever reads them: the call goes back upstream under the id of its result.
 *
 * @param given the upstream's own id of each call in their order; empty where it gave none
 */
export const answerIds = (given: ReadonlyArray<string>): ReadonlyArray<string> => {
  const used = new Set(given)
  const taken = new Set<string>()
  /** The last number that was put behind an id. */
  const numbers = new Map<string, number>()
  return given.map((own, place) => {
    const wanted = own === "" ? `call_${place}` : own
    let id = wanted
    if (own === "" ? used.has(id) : taken.has(id)) {
      let number = numbers.get(wanted) ?? 1
      do id = `${wanted}_${++number}`
      while (used.has(id))
      numbers.set(wanted, number)
    }
    used.add(id)
    taken.add(id)
    return id
  })
}
