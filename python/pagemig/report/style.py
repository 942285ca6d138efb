"""The style of a report's page, every rule below ``.pmr`` so that it leaves a notebook alone.

Above: `.page`. Colours of nodes are added by `.pictures`.
"""

from __future__ import annotations

STYLE = """
.pmr { --paper: #ffffff; --card: #f5f6f8; --ink: #16191d; --soft: #565d66; --line: #d7dbe0; --empty: #e7eaee;
  color: var(--ink); background: var(--paper); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "DejaVu Sans", sans-serif; max-width: 1180px; margin: 0 auto; padding: .2rem 1rem; }
@media (prefers-color-scheme: dark) { .pmr { --paper: #14171a; --card: #1d2125; --ink: #eceff2;
  --soft: #a7b0ba; --line: #343a41; --empty: #262b30; } body { background: #14171a; } }
.pmr * { box-sizing: border-box; }
.pmr h1 { font-size: clamp(1.4rem, 1rem + 2vw, 2.1rem); line-height: 1.2; margin: .8rem 0 .4rem;
  overflow-wrap: anywhere; }
.pmr h2 { font-size: 1.15rem; margin: 1.8rem 0 .4rem; } .pmr h3 { font-size: 1rem; margin: 0 0 .4rem; }
.pmr p { margin: .4rem 0 .8rem; max-width: 72ch; overflow-wrap: anywhere; }
.pmr .soft, .pmr caption, .pmr figcaption { color: var(--soft); font-size: .88rem; }
.pmr code { font: .9em ui-monospace, "Cascadia Mono", Menlo, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
.pmr .note { border-left: 4px solid #009e73; background: var(--card); padding: .4rem .8rem; }
.pmr .note.bad { border-left-color: #d55e00; }
.pmr .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: .7rem; }
.pmr .tiles > div, .pmr figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: .7rem .9rem; margin: 0; min-width: 0; }
.pmr .tiles b { display: block; font-size: 1.35rem; } .pmr .tiles span { color: var(--soft);
  font-size: .88rem; }
.pmr .pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr));
  gap: .8rem;
  margin: 0 0 .8rem; }
.pmr svg { display: block; width: 100%; border-radius: 4px; }
.pmr svg.map { height: auto; max-height: 320px; } .pmr svg.shares, .pmr .history svg.map { height: 160px; }
.pmr svg text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  fill: var(--ink); }
.pmr svg .value { fill: var(--soft); } .pmr .empty, .pmr .track { fill: var(--empty);
  background: var(--empty); }
.pmr .ticks { display: flex; justify-content: space-between; color: var(--soft); font-size: .8rem; }
.pmr .legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .5rem 0 0; padding: 0;
  list-style: none;
  font-size: .88rem; }
.pmr .legend i { display: inline-block; width: .85em; height: .85em; border-radius: 3px; margin-right: .4em;
  vertical-align: -.06em; border: 1px solid var(--line); }
.pmr table { border-collapse: collapse; width: 100%; font-size: .93rem; margin: 0 0 .8rem; }
.pmr caption { text-align: left; padding-bottom: .2rem; }
.pmr th, .pmr td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.pmr th { font-weight: 600; }
.pmr .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.pmr .verdict { list-style: none; padding: 0; } .pmr .verdict li { padding: .15rem .7rem; margin: .25rem 0;
  border-left: 4px solid var(--line); overflow-wrap: anywhere; }
.pmr .verdict .well { border-left-color: #009e73; } .pmr .verdict .bad { border-left-color: #d55e00; }
@media (max-width: 640px) {
  .pmr thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .pmr table, .pmr tbody, .pmr tr, .pmr caption { display: block; }
  .pmr tr { border-bottom: 1px solid var(--line); padding: .4rem 0; }
  .pmr th, .pmr td { display: block; border: 0; padding: 0; text-align: left; white-space: normal; }
  .pmr .number { text-align: left; white-space: normal; }
  .pmr td::before { content: attr(data-name) ": "; color: var(--soft); font-size: .88rem; }
}
"""
