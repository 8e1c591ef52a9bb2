// After tsc: what makes dist/ a command and a package.
import { chmodSync, cpSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const main = join(root, "dist", "main.js")

// node:sqlite still warns that it is experimental; `env -S` splits the line into arguments.
const shebang = "#!/usr/bin/env -S node --disable-warning=ExperimentalWarning\n"
writeFileSync(main, shebang + readFileSync(main, "utf8").replace(/^#!.*\n/, ""))
chmodSync(main, 0o755)

// What tsc leaves behind: everything in src that is no TypeScript, such as the console's page.
cpSync(join(root, "src"), join(root, "dist"), {
  recursive: true,
  filter: (source) => !source.endsWith(".ts")
})
