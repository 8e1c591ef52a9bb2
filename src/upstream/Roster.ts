/**
 * What is there just now, of things that come and go by the thousand.
 *
 * A `Map` or `Set` would do, but for what it costs: it outgrows its table again and again, the old table points to the
 * new one and to all that was in it then, and once an old table has lived long enough to be moved to the old generation,
 * everything behind it survives up to the next full collection. Here nothing points to a member that has left.
 */
export class Roster<A> implements Iterable<A> {
  private members: Array<Member<A>> = []

  get size(): number {
    return this.members.length
  }

  /** Adds a value. What comes back takes it off. */
  add(value: A): Member<A> {
    return new Member(value, this.members)
  }

  /** Takes all of them off and answers them. */
  takeAll(): ReadonlyArray<Member<A>> {
    const { members } = this
    this.members = []
    for (const member of members) member.left()
    return members
  }

  /** Those who are there when it is called: some may leave while they are gone through. */
  [Symbol.iterator](): Iterator<A> {
    return this.members.map((member) => member.value)[Symbol.iterator]()
  }
}

/** A value on a roster. */
export class Member<A> {
  readonly value: A
  private among: Array<Member<A>> | null
  private place: number

  constructor(value: A, among: Array<Member<A>>) {
    this.value = value
    this.among = among
    this.place = among.push(this) - 1
  }

  /** Takes it off, if it is still on it. */
  leave(): void {
    const { among, place } = this
    if (among === null) return
    this.among = null
    const last = among.pop()!
    if (last === this) return
    among[place] = last
    last.place = place
  }

  /** It was taken off together with all the others. */
  left(): void {
    this.among = null
  }
}
