// Tables of class "sortable": a click on a heading sorts the body by that column, and
// again the other way. A cell's data-value, where it has one, is what counts.
for (const table of document.querySelectorAll('table.sortable')) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = heading.querySelector('button');
    if (!button) return;
    button.addEventListener('click', () => {
      const ascending = heading.getAttribute('aria-sort') !== 'ascending';
      for (const other of headings) other.removeAttribute('aria-sort');
      heading.setAttribute('aria-sort', ascending ? 'ascending' : 'descending');
      const value = (row) => {
        const cell = row.cells[column];
        return cell.dataset.value ?? cell.textContent.trim();
      };
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)];
        const [m, n] = [Number(x), Number(y)];
        const both = x !== '' && y !== '' && !Number.isNaN(m) && !Number.isNaN(n);
        return both ? m - n : x.localeCompare(y);
      };
      const rows = [...table.tBodies[0].rows].sort(compare);
      if (!ascending) rows.reverse();
      table.tBodies[0].append(...rows);
    });
  });
}
