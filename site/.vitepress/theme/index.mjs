// Without the fonts that the theme brings: a reader's own fonts need no download.
export { default } from "vitepress/theme-without-fonts";
