"use strict";
// Headings of tables become buttons that sort: upwards, downwards, and back to the order of the file.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  if (rows.length < 2) continue;
  const headings = Array.from(table.tHead.rows[0].cells);
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sort(heading, column));
  });

  function sort(heading, column) {
    const before = heading.getAttribute("aria-sort");
    const next = { null: "ascending", ascending: "descending", descending: null }[before];
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    if (next) heading.setAttribute("aria-sort", next);
    const sign = next === "descending" ? -1 : 1;
    body.append(...(next ? rows.slice().sort((a, b) => compare(a.cells[column], b.cells[column], sign)) : rows));
  }
}

// Tables with many rows get a search, and a choice for each column that is marked for it. What is chosen is in
// the page's address, so that it can be sent: #source=smp&result=failed&search=unet.
for (const table of document.querySelectorAll("table[data-search]")) {
  const rows = Array.from(table.tBodies[0].rows);
  const bar = document.createElement("div");
  bar.className = "filter";
  bar.setAttribute("role", "search");
  bar.setAttribute("aria-label", table.caption ? table.caption.textContent : "Rows of the table");
  const search = labelled(bar, "search", Object.assign(document.createElement("input"), { type: "search" }));
  const choices = Array.from(table.tHead.rows[0].cells)
    .filter((heading) => heading.hasAttribute("data-filter"))
    .map((heading) => choice(bar, heading.textContent, heading.cellIndex, rows));
  const count = document.createElement("output");
  count.setAttribute("aria-live", "polite");
  bar.append(count);
  table.parentNode.before(bar);
  const texts = rows.map((row) => Array.from(row.cells, (cell) => cell.textContent).join("\n").toLowerCase());
  const fields = [["search", search], ...choices.map(({ name, select }) => [name, select])];

  function apply() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, number) => {
      const fits =
        words.every((word) => texts[number].includes(word)) &&
        choices.every(({ select, column }) => !select.value || row.cells[column].textContent === select.value);
      row.hidden = !fits;
      shown += fits;
    });
    count.textContent = `${shown} of ${rows.length} rows`;
  }

  // Where a page has more such tables, its address belongs to the first that has choices.
  const isNamed = choices.length > 0 && table === document.querySelector("[data-filter]").closest("table");

  function read() {
    const chosen = new URLSearchParams(location.hash.slice(1));
    for (const [name, field] of fields) field.value = chosen.get(name) ?? "";
    for (const { select } of choices) if (select.selectedIndex < 0) select.selectedIndex = 0; // a value of no row
    apply();
  }

  bar.addEventListener("input", () => {
    apply();
    if (!isNamed) return;
    const chosen = new URLSearchParams(fields.map(([name, field]) => [name, field.value]).filter(([, value]) => value));
    history.replaceState(null, "", chosen.size ? `#${chosen}` : location.pathname + location.search);
  });
  if (isNamed) {
    addEventListener("hashchange", () => location.hash.includes("=") && read());
    read();
  } else apply();
}

// A field in its label.
function labelled(bar, name, field) {
  const label = document.createElement("label");
  label.append(name, field);
  bar.append(label);
  return field;
}

// One value of a column, or all of them.
function choice(bar, name, column, rows) {
  const select = labelled(bar, name, document.createElement("select"));
  select.append(new Option("all", ""));
  for (const value of new Set(rows.map((row) => row.cells[column].textContent))) {
    select.append(new Option(isText(value) ? value : "none", value));
  }
  return { name, select, column };
}

function isText(value) {
  return value !== "-";
}

// Numbers by their value, texts by the reader's language; what is missing comes last either way.
function compare(a, b, sign) {
  const missing = isMissing(a) - isMissing(b);
  if (missing || isMissing(a)) return missing;
  if (a.dataset.value !== undefined && b.dataset.value !== undefined) {
    return sign * (Number(a.dataset.value) - Number(b.dataset.value));
  }
  return sign * a.textContent.localeCompare(b.textContent, undefined, { numeric: true });
}

function isMissing(cell) {
  return cell.textContent === "-" ? 1 : 0;
}

// Escape closes a picture that fills the window.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.querySelector(".picture:target")) location.hash = "closed";
});
