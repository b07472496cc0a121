// Looks at reports in headless Chromium, in light and dark and on a narrow screen: axe-core finds no
// violation, nothing of the data runs, nothing is loaded, and nothing is wider than the screen.
// Screenshots are left beside the pages. Usage: node report.mjs FOLDER, as `make browser` does.
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const folder = resolve(process.argv[2]);
const require = createRequire(`${folder}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const SCREENS = { light: ["light", 1200], dark: ["dark", 1200], narrow: ["light", 390] };
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

async function complaints(browser, path, [colorScheme, width], shot) {
  const context = await browser.newContext({
    colorScheme, viewport: { width, height: 900 }, bypassCSP: true });
  const page = await context.newPage();
  const found = [];
  page.on("dialog", (dialog) => { found.push(`it ran: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => {
    if (!/^(file|data):/.test(request.url())) found.push(`it loads ${request.url()}`);
  });
  await page.goto(`file://${path}`);
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (wider > 0) found.push(`it is ${wider} pixels wider than the screen`);
  await page.screenshot({ path: shot, fullPage: true });
  await page.evaluate(() => document.querySelectorAll("details").forEach((each) => each.open = true));
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  for (const { id, help, nodes } of violations) found.push(`${id}: ${help}: ${nodes[0].target}`);
  await context.close();
  return found;
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
let count = 0;
for (const name of readdirSync(folder).filter((each) => each.endsWith(".html"))) {
  for (const [screen, settings] of Object.entries(SCREENS)) {
    const shot = `${folder}/${name.replace(".html", "")}-${screen}.png`;
    const found = await complaints(browser, `${folder}/${name}`, settings, shot);
    count += found.length;
    console.log(`${name}, ${screen}: ${found.join("; ") || "no violation"}`);
  }
}
await browser.close();
process.exit(count ? 1 : 0);
