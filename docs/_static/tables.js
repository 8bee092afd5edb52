// On a narrow page a table of three columns or more becomes a list of its rows (see custom.css);
// each cell then needs the head of its column.
for (const table of document.querySelectorAll("table.docutils")) {
  const heads = [...table.querySelectorAll("thead th")].map((head) => head.textContent.trim());
  if (heads.length < 3) continue;
  table.classList.add("becomes-a-list");
  for (const row of table.tBodies[0].rows) {
    [...row.cells].forEach((cell, column) => { if (column) cell.dataset.head = heads[column]; });
  }
}
