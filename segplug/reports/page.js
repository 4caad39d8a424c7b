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
