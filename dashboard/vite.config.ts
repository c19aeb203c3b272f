/** Builds the page into the Python package, each file also compressed, so that the service need not do it. */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { defineConfig } from "vitest/config";

const OUT = fileURLToPath(new URL("../ticker/web/static", import.meta.url));
const SERVICE = process.env.TICKER_URL ?? "http://127.0.0.1:8000";

/** Next to `app.js`, `app.js.br` and `app.js.gz`. */
function compress() {
  return {
    name: "compress",
    apply: "build" as const,
    writeBundle() {
      const files = readdirSync(OUT, { recursive: true, encoding: "utf8" });
      for (const path of files
        .filter((name) => /\.(html|js|css|svg|md)$/.test(name))
        .map((name) => join(OUT, name))) {
        const content = readFileSync(path);
        const params = {
          [constants.BROTLI_PARAM_QUALITY]: 11,
          [constants.BROTLI_PARAM_SIZE_HINT]: content.length,
        };
        writeFileSync(`${path}.br`, brotliCompressSync(content, { params }));
        writeFileSync(`${path}.gz`, gzipSync(content, { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  build: {
    outDir: OUT,
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    license: { fileName: "licenses.md" },
  },
  plugins: [compress()],
  server: { proxy: { "/v1": { target: SERVICE, ws: true, changeOrigin: true } } },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
});
