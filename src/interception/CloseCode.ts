/**
 * A WebSocket's close code as the other side of a connection is told it: what may not be sent (RFC 6455, section 7.4), and
 * what nobody has given a meaning, in the code that comes nearest.
 *
 * @param broken what stands for a connection that just ended, or said nothing that can be said again
 */
export const carriedCode = (code: number, broken: number): number => {
  if (code === 1005) return 1000
  const registered = code >= 1000 && code <= 1014 && code !== 1004 && code !== 1006
  return registered || (code >= 3000 && code <= 4999) ? code : broken
}
