// Turns the headings of every table into buttons that sort its rows, each group within itself.
for (const table of document.querySelectorAll(".table table")) {
  const headings = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  if (![...table.tBodies].some((body) => body.querySelectorAll("tr:not(.grouped)").length > 1)) continue;
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.classList.contains("number");
      const first = down ? "descending" : "ascending";
      const other = down ? "ascending" : "descending";
      const order = heading.getAttribute("aria-sort") === first ? other : first;
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      for (const body of table.tBodies) {
        const rows = [...body.querySelectorAll("tr:not(.grouped)")];
        const key = (row) => row.cells[column].dataset.key ?? "";
        rows.sort((a, b) => {
          if (!down) return sign * row_text(a, column).localeCompare(row_text(b, column));
          if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
          return sign * (Number(key(a)) - Number(key(b)));
        });
        body.append(...rows);
      }
    });
  });
}
function row_text(row, column) {
  return row.cells[column].textContent.trim();
}
