/** The oldest Node that Sluice runs on, as `engines` of package.json has it. */
const oldest = [22, 19] as const

/**
 * Why Sluice does not run on this Node, or `null` where it does. Written so that old ones understand it, too.
 *
 * @param version - `process.versions.node`
 */
export const tooOld = (version: string): string | null => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1])
    ? null
    : `Sluice needs Node ${oldest.join(".")} or newer; this is ${version}.`
}
