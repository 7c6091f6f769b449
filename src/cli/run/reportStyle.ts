/** How the report's page looks, in the light and in the dark. */
export const REPORT_STYLE = `
:root {
  color-scheme: light dark;
  --page: #f4f6f8; --card: #fff; --ink: #17212b; --soft: #536273; --line: #dde3ea; --link: #0b5cad;
  --first: #0b7285; --first-fill: #0b728566; --total: #6741d9; --total-fill: #6741d966; --bad: #c92a2a; --bad-fill: #c92a2a66;
  --complete: #23722f; --withheld: #8a5a00; --failed: #c92a2a; --interrupted: #b1450c; --stopped: #0b5cad; --pending: #616d79;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #10161c; --card: #18212a; --ink: #e6edf3; --soft: #9fb0c0; --line: #2b3946; --link: #74b9ff;
    --first: #4fd1e0; --first-fill: #4fd1e055; --total: #b197fc; --total-fill: #b197fc55; --bad: #ff8787; --bad-fill: #ff878755;
    --complete: #69db7c; --withheld: #ffd166; --failed: #ff8787; --interrupted: #ffa94d; --stopped: #74b9ff; --pending: #a5b1bd;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2rem; }
.brand { display: flex; align-items: center; gap: .5rem; margin: 0; color: var(--soft); font-weight: 600; letter-spacing: .02em; }
h1 { margin: .5rem 0 0; font-size: clamp(1.4rem, 4vw, 2.2rem); font-weight: 500; line-height: 1.1; }
h1 .big { font-size: 2em; font-weight: 750; letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
h2 { margin: 0 0 .75rem; font-size: 1.1rem; }
.verdict { margin: .25rem 0 1rem; font-size: 1.05rem; }
.when { margin: .75rem 0 1.5rem; color: var(--soft); overflow-wrap: anywhere; }
.bar { display: block; width: 100%; height: .75rem; border-radius: .375rem; background: var(--line); overflow: hidden; }
rect.complete { fill: var(--complete); } rect.withheld { fill: var(--withheld); } rect.failed { fill: var(--failed); }
rect.interrupted { fill: var(--interrupted); } rect.stopped { fill: var(--stopped); } rect.pending { fill: var(--line); }
.tiles { display: grid; grid-template-columns: repeat(6, 1fr); gap: .75rem; margin: 0 0 1rem; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; }
.tile { padding: .75rem 1rem; }
.tile dt { color: var(--soft); font-size: .85rem; }
.tile dd { margin: 0; }
.tile strong { display: block; font-size: 1.35rem; font-weight: 650; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.tile span { color: var(--soft); font-size: .85rem; }
.card { padding: 1.25rem; margin: 0 0 1rem; }
.reasons { margin: 0; padding: 0; list-style: none; }
.reasons li { padding: .3rem 0; overflow-wrap: anywhere; }
.reasons .times { display: inline-block; min-width: 3rem; font-weight: 650; font-variant-numeric: tabular-nums; }
code { font: .85em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; color: var(--failed); }
figure { margin: 0 0 1.25rem; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: .25rem 1rem; margin-bottom: .5rem; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: 0; padding: 0; list-style: none; color: var(--soft); font-size: .9rem; }
.legend li::before, .quantiles th[class]::before { content: ""; display: inline-block; width: .7em; height: .7em; margin-right: .4em; border-radius: 50%; background: currentColor; }
.legend .first::before, .quantiles th.first::before { background: var(--first); }
.legend .total::before, .quantiles th.total::before { background: var(--total); }
.legend .bad::before { background: var(--bad); }
.chart { position: relative; min-height: 300px; }
.chart .uplot { width: 100%; }
.u-select { background: var(--first-fill); }
.tip { position: absolute; top: .25rem; padding: .2rem .6rem; border-radius: .4rem; background: var(--ink); color: var(--card); font-size: .85rem; pointer-events: none; max-width: 100%; overflow-wrap: anywhere; }
.hint { margin: .75rem 0 0; color: var(--soft); font-size: .85rem; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .4rem .75rem; text-align: start; vertical-align: top; }
thead th, thead td { border-bottom: 2px solid var(--line); color: var(--soft); font-size: .85rem; font-weight: 600; white-space: nowrap; }
tbody th, tbody td { border-bottom: 1px solid var(--line); }
tbody th { font-weight: 500; }
.number { text-align: end; white-space: nowrap; font-variant-numeric: tabular-nums; }
.quantiles { max-width: 44rem; }
.quantiles caption { padding-bottom: .25rem; text-align: start; color: var(--soft); font-size: .85rem; }
.quantiles thead th { text-align: end; }
.tools { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; margin-bottom: .75rem; }
.tools p { margin: 0; color: var(--soft); }
.filters { display: flex; flex-wrap: wrap; gap: .4rem; }
input, button { font: inherit; color: inherit; }
input[type=search] { width: 17rem; max-width: 100%; padding: .3rem .6rem; border: 1px solid var(--soft); border-radius: .5rem; background: var(--page); }
::placeholder { color: var(--soft); opacity: 1; }
button { padding: .3rem .8rem; border: 1px solid var(--soft); border-radius: .5rem; background: transparent; cursor: pointer; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
thead button { padding: 0; border: 0; font-weight: 600; }
thead button::after { content: "\\2195" / ""; margin-left: .3em; opacity: .5; }
[aria-sort=ascending] button::after { content: "\\2191" / ""; opacity: 1; }
[aria-sort=descending] button::after { content: "\\2193" / ""; opacity: 1; }
.chip { display: inline-block; padding: .05rem .6rem; border: 1px solid currentColor; border-radius: 1rem; font-size: .85rem; white-space: nowrap; }
.chip.complete { color: var(--complete); } .chip.withheld { color: var(--withheld); } .chip.failed { color: var(--failed); }
.chip.interrupted { color: var(--interrupted); } .chip.stopped { color: var(--stopped); } .chip.pending { color: var(--pending); }
.chip.complete::before { content: "\\2713\\a0" / ""; } .chip.withheld::before { content: "\\2026\\a0" / ""; } .chip.failed::before { content: "\\2717\\a0" / ""; }
.chip.interrupted::before { content: "\\2702\\fe0e\\a0" / ""; } .chip.stopped::before { content: "\\25a0\\a0" / ""; } .chip.pending::before { content: "\\25cb\\a0" / ""; }
.chip[aria-pressed=true] { box-shadow: inset 0 0 0 2px currentColor; font-weight: 650; }
.scroll { overflow-x: auto; }
.jobs { table-layout: fixed; min-width: 66rem; }
.jobs thead :is(th, td) { width: 6rem; }
.jobs thead th:first-child { width: auto; }
.jobs thead th:nth-child(2) { width: 8.5rem; }
.jobs thead th:nth-child(6) { width: 8.5rem; }
.jobs thead th:last-child { width: 14rem; }
.jobs :is(th, td) { padding: .35rem .5rem; }
.jobs th .id { display: block; overflow-wrap: anywhere; }
.jobs th .model, .before { color: var(--soft); font-size: .8rem; font-weight: 400; }
.before { display: block; }
.why { margin: .25rem 0 0; font-size: .85rem; font-weight: 400; overflow-wrap: anywhere; max-width: 44rem; }
.jobs td:last-child { overflow-wrap: anywhere; }
.more { margin: .75rem 0 0; }
a { color: var(--link); }
footer { padding-bottom: 2rem; color: var(--soft); font-size: .85rem; }
[hidden] { display: none; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (max-width: 64rem) { .tiles { grid-template-columns: repeat(3, 1fr); } }
@media (max-width: 36rem) { .tiles { grid-template-columns: repeat(2, 1fr); } .card { padding: 1rem .75rem; } }
@media print { .tools, .more, .hint { display: none; } .card, .tile { break-inside: avoid; } .jobs { break-inside: auto; } body { background: #fff; } }
`;
