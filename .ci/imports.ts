// Fails when an import points the wrong way, or a file holds what it must not (see rules.ts).
import { readFileSync, readdirSync } from "node:fs"
import { join, relative, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { check } from "./rules.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

const files = ["src", "test", ".ci"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
)
for (const name of readdirSync(root))
  if (/\.(md|json)$/.test(name) && name !== "package-lock.json") files.push(join(root, name))

const manifest: { readonly dependencies: object; readonly devDependencies: object } = JSON.parse(
  readFileSync(join(root, "package.json"), "utf8")
)

const problems = check(
  files.map((file) => ({ path: relative(root, file).split(sep).join("/"), text: readFileSync(file, "utf8") })),
  { dependencies: Object.keys(manifest.dependencies), devDependencies: Object.keys(manifest.devDependencies) }
)

for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
