/** One key for an actor and an id of its own. Actors may have any name, so the two are told apart by a length. */
export const actorKey = (actor: string, id: string): string => `${actor.length} ${actor}${id}`
