import { defineConfig } from "vitepress";
import { githubSlug } from "../../scripts/site/github-slug.ts";
import { sidebar } from "../../scripts/site/pages.ts";

// The pages in build/pages are copies that scripts/build-site.ts makes. SITE_BASE is the path below which the site is published.
export default defineConfig({
  title: "Serval",
  description: "From a folder of labelled photographs to a monitored image classifier, in TypeScript alone.",
  lang: "en",
  base: process.env.SITE_BASE ?? "/",
  srcDir: "build/pages",
  outDir: "build/site",
  cacheDir: "build/cache",
  // A link to a page that is not there ends the build.
  ignoreDeadLinks: false,
  markdown: {
    // Headings have the anchors that GitHub gives them, so links work in both places.
    anchor: { slugify: githubSlug },
    // Vue leaves {{ }} in code as it is.
    config(md) {
      const code = md.renderer.rules.code_inline;
      md.renderer.rules.code_inline = (...given) => code(...given).replace("<code", "<code v-pre");
    },
  },
  themeConfig: { search: { provider: "local" }, sidebar: sidebar(), outline: [2, 3] },
});
