"use strict";
// A click on a column's name sorts its table: numbers as numbers, empty cells last.
const number = (text) => {
  const found = /^[+-]?(\d[\d,]*)?\.?\d*(e[+-]?\d+)?(?=$|[\s%])/i.exec(text);
  return found && /\d/.test(found[0]) ? parseFloat(found[0].replace(/,/g, "")) : NaN;
};
const text = (row, column) => row.cells[column].textContent.trim();
document.querySelectorAll("th button").forEach((button) => {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const column = head.cellIndex;
    const body = head.closest("table").tBodies[0];
    const rows = Array.from(body.rows);
    const down = head.getAttribute("aria-sort") === "ascending";
    const filled = rows.map((row) => text(row, column)).filter((cell) => cell !== "");
    const numeric = filled.every((cell) => !Number.isNaN(number(cell)));
    const order = numeric
      ? (a, b) => number(a) - number(b)
      : (a, b) => a.localeCompare(b, "en", { numeric: true });
    rows.sort((one, other) => {
      const a = text(one, column);
      const b = text(other, column);
      if (a === "" || b === "") return (a === "") - (b === "");
      return down ? order(b, a) : order(a, b);
    });
    head.parentElement.querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  });
});
