import { posix } from "node:path"

/** A file of the repository: its path from the root, with `/`, and its text. */
export interface SourceFile {
  readonly path: string
  readonly text: string
}

/** What may be imported without being in the repository. */
export interface Packages {
  /** What is shipped: all that `src` may use. */
  readonly dependencies: ReadonlyArray<string>
  /** What tests and tools may use besides. */
  readonly devDependencies: ReadonlyArray<string>
}

interface Import {
  readonly line: number
  readonly target: string
  readonly typeOnly: boolean
}

/** The doors of the services: what the engine and everything above it may know of their folders. */
const services = [
  "upstream/Upstream.ts",
  "tools/ToolCatalog.ts",
  "recorder/Recorder.ts",
  "recorder/Records.ts",
  "sessions/Sessions.ts",
  "pricing/Pricing.ts"
]

const serviceFolder = { folders: ["wire", "dialect"], types: ["config"] }

/**
 * Which way imports point: for each folder of `src`, what it may import besides itself. `types` are folders and files
 * that only `import type` may name. The files at the root of `src` and the folder `testing` stand above all of these.
 */
const directions: {
  readonly [folder: string]: {
    readonly folders: ReadonlyArray<string>
    readonly files?: ReadonlyArray<string>
    readonly types?: ReadonlyArray<string>
  }
} = {
  wire: { folders: [] },
  dialect: { folders: ["wire"] },
  upstream: serviceFolder,
  tools: serviceFolder,
  recorder: serviceFolder,
  sessions: serviceFolder,
  pricing: serviceFolder,
  access: { ...serviceFolder, files: services },
  config: { folders: [] },
  interception: { folders: ["wire", "dialect"], files: services },
  telemetry: { folders: ["wire", "dialect", "interception"], files: services, types: ["config"] },
  http: {
    folders: ["wire", "dialect", "interception", "telemetry", "access", "config"],
    // How a client's credential is read and masked is the same at the edge as upstream, and so is whether the other end
    // takes what is written, and a WebSocket.
    files: [...services, "upstream/Credential.ts", "upstream/Uptake.ts", "upstream/WebSocketPeer.ts"]
  },
  console: { folders: ["http"] },
  cli: {
    folders: ["wire", "dialect", "interception", "telemetry", "access", "config", "http", "upstream", "recorder"],
    files: [...services, "Sluice.ts"]
  }
}

/** Pure code: bytes and meanings, no I/O and no effects. */
const pure = ["wire", "dialect"]
// Of crypto hashes are meant: what tells one text from another.
const pureBuiltins = ["node:buffer", "node:crypto", "node:zlib"]

const maximumLines = 500

/** What must not stand anywhere. The expressions are written so that they do not find themselves. */
const forbidden: ReadonlyArray<{ readonly where: RegExp; readonly what: RegExp; readonly why: string }> = [
  { where: /^test\//, what: /\.(?:only|skip|todo)\(/, why: "a test that is left out tests nothing" },
  { where: /./, what: /\b(?:TO)DO\b|\bFIX(?:ME)\b/, why: "finish it, or put it into an issue" },
  {
    where: /./,
    what: /@ts-(?:ignore|nocheck)|biome-(?:ignore)/,
    why: "make the code right instead of silencing its check"
  },
  { where: /./, what: /["'`\s(](?:file:\/\/)?\/(?:home|work|root)\//, why: "a path of one machine" },
  {
    where: /^src\//,
    what: /new URL\(["'][^"']*\.ts["']/,
    why: "the build does not rewrite this to .js; derive the extension from import.meta.url"
  }
]

const statement = /^(?:import|export)\s+(type\s+)?(?:[\w$*{}\s,]+?\s*from\s*)?["']([^"'\n]+)["']/gm
const dynamic = /\bimport\(\s*["']([^"'\n]+)["']/g

const lineAt = (text: string, offset: number): number => text.slice(0, offset).split("\n").length

/** The imports of a file. Statements are found at the start of a line, where the formatter puts them. */
export const importsOf = (text: string): ReadonlyArray<Import> => [
  ...Array.from(text.matchAll(statement), (match) => ({
    line: lineAt(text, match.index),
    target: match[2]!,
    typeOnly: match[1] !== undefined
  })),
  ...Array.from(text.matchAll(dynamic), (match) => ({
    line: lineAt(text, match.index),
    target: match[1]!,
    typeOnly: false
  }))
]

const packageOf = (target: string): string => target.split("/", target.startsWith("@") ? 2 : 1).join("/")

/** Why one file of `src` may not import another, or `undefined` where it may. */
const direction = (from: string, to: string, typeOnly: boolean): string | undefined => {
  const inside = (path: string) => path.slice("src/".length)
  const [source, target] = [inside(from), inside(to)]
  const folder = source.includes("/") ? source.slice(0, source.indexOf("/")) : ""
  const targetFolder = target.includes("/") ? target.slice(0, target.indexOf("/")) : ""
  if (target === "main.ts") return "nothing imports main.ts"
  if (targetFolder === "cli" && folder !== "cli" && source !== "main.ts") return "only cli/ and main.ts import cli/"
  if (targetFolder === "testing" && folder !== "testing") return "only tests import testing/"
  if (folder === "" || folder === "testing" || folder === targetFolder) return undefined
  const allowed = directions[folder]
  if (allowed === undefined) return `${folder}/ has no place in the import directions yet (.ci/rules.ts)`
  if (allowed.folders.includes(targetFolder) || allowed.files?.includes(target)) return undefined
  if (typeOnly && (allowed.types?.includes(targetFolder) || allowed.types?.includes(target))) return undefined
  return allowed.types?.includes(targetFolder)
    ? `${folder}/ may import only types of ${targetFolder}/ (import type)`
    : `${folder}/ may not import ${target}`
}

const problemsOfImport = (file: SourceFile, { target, typeOnly }: Import, packages: Packages): string | undefined => {
  const inSource = file.path.startsWith("src/")
  const folder = inSource ? file.path.split("/")[1]! : ""
  if (target.startsWith(".")) {
    if (!/\.(ts|json)$/.test(target)) return `the import of ${target} lacks its extension .ts`
    const to = posix.join(posix.dirname(file.path), target)
    if (!inSource) return undefined
    return to.startsWith("src/") ? direction(file.path, to, typeOnly) : `src/ may not import ${to}`
  }
  if (target.startsWith("node:")) {
    return pure.includes(folder) && !pureBuiltins.includes(target)
      ? `${folder}/ is pure: it may not import ${target}`
      : undefined
  }
  const name = packageOf(target)
  if (pure.includes(folder)) return `${folder}/ is pure: it may not import ${name}`
  if (!inSource && name === "sluice") return undefined
  const known = inSource ? packages.dependencies : [...packages.dependencies, ...packages.devDependencies]
  if (known.includes(name)) return undefined
  return packages.devDependencies.includes(name)
    ? `${name} is a development dependency, which is not shipped`
    : `${name} is not in package.json (built-in modules are written node:${name})`
}

/**
 * Files that import each other in a circle, each as the path around it. `import type` does not count: it is gone when
 * the program runs, and a service whose layers stand in its own class has its parts name its types.
 */
const cycles = (graph: ReadonlyMap<string, ReadonlyArray<string>>): ReadonlyArray<ReadonlyArray<string>> => {
  const found: Array<ReadonlyArray<string>> = []
  const done = new Set<string>()
  const path: Array<string> = []
  const visit = (file: string): void => {
    const start = path.indexOf(file)
    if (start >= 0) found.push([...path.slice(start), file])
    if (start >= 0 || done.has(file)) return
    path.push(file)
    for (const next of graph.get(file) ?? []) visit(next)
    path.pop()
    done.add(file)
  }
  for (const file of graph.keys()) visit(file)
  return found
}

/**
 * Checks what compilers and linters do not: where imports point, and what may stand in a file.
 *
 * @returns a line `file:line: message` for each problem
 */
export const check = (files: ReadonlyArray<SourceFile>, packages: Packages): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const graph = new Map<string, ReadonlyArray<string>>()
  for (const file of files) {
    const lines = file.text.split("\n")
    for (const rule of forbidden.filter(({ where }) => where.test(file.path))) {
      lines.forEach((line, index) => {
        if (rule.what.test(line)) problems.push(`${file.path}:${index + 1}: ${line.trim().slice(0, 60)}: ${rule.why}`)
      })
    }
    if (!file.path.endsWith(".ts")) continue
    const imports = importsOf(file.text)
    for (const found of imports) {
      const problem = problemsOfImport(file, found, packages)
      if (problem !== undefined) problems.push(`${file.path}:${found.line}: ${problem}`)
    }
    if (!file.path.startsWith("src/")) continue
    graph.set(
      file.path,
      imports
        .filter(({ target, typeOnly }) => target.startsWith(".") && !typeOnly)
        .map(({ target }) => posix.join(posix.dirname(file.path), target))
    )
    const count = lines.length - (lines.at(-1) === "" ? 1 : 0)
    if (count > maximumLines) problems.push(`${file.path}:${count}: longer than ${maximumLines} lines`)
    if (!/^(?:index|main|[A-Z][A-Za-z0-9]*)\.ts$/.test(posix.basename(file.path))) {
      problems.push(`${file.path}:1: a file is named in PascalCase after what it defines`)
    }
  }
  for (const cycle of cycles(graph)) problems.push(`${cycle[0]}:1: imports itself: ${cycle.join(" → ")}`)
  return problems
}
