import { defineConfig } from "vitest/config"

/** The opt-in suite of real clients: `npm run test:clients`, or `npm run test:clients -- Codex` for one of them. */
export default defineConfig({
  test: {
    include: ["test/clients/**/*.client.ts"],
    pool: "forks",
    // Clients measure time, and each takes a core.
    maxWorkers: 1,
    testTimeout: 180_000,
    hookTimeout: 660_000,
    reporters: ["verbose"]
  }
})
