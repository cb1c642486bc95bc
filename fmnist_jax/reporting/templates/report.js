// The confusion matrix: a cell tells its count when pointed at, and shows its images when
// chosen. One cell at a time is in the tab order; arrow keys move from it.
const gallery = JSON.parse(document.getElementById('gallery').textContent);
const matrix = document.getElementById('matrix');
const rows = [...matrix.tBodies[0].rows].map((row) => [...row.querySelectorAll('td')]);
const hint = document.getElementById('hint');
const percent = (tenths) => `${(tenths / 10).toFixed(1)} %`;

function focusCell(row, column) {
  const cell = rows[row]?.[column];
  if (!cell) return;
  for (const other of rows.flat()) other.tabIndex = -1;
  cell.tabIndex = 0;
  cell.focus();
}

function drawImage(cell, sheet, position) {
  const { width, height, columns, names } = gallery;
  const figure = document.createElement('figure');
  figure.className = 'thumb';
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', `image ${cell.index[position]} of the split`);
  const left = (position % columns) * width;
  const top = Math.floor(position / columns) * height;
  canvas.getContext('2d').drawImage(sheet, left, top, width, height, 0, 0, width, height);
  const caption = document.createElement('figcaption');
  const number = document.createElement('span');
  number.className = 'soft';
  number.textContent = `#${cell.index[position]}`;
  caption.append(number);
  const all = [];
  const pairs = cell.top[position];
  for (let i = 0; i < pairs.length; i += 2) {
    const line = document.createElement(pairs[i] === cell.label ? 'b' : 'span');
    line.textContent = `${names[pairs[i]]} ${percent(pairs[i + 1])}`;
    all.push(line);
  }
  // The first three, and the true class wherever it comes.
  const shown = all.filter((line, place) => place < 3 || line.tagName === 'B');
  for (const line of shown) caption.append(document.createElement('br'), line);
  figure.title = all.map((line) => line.textContent).join('\n');
  figure.append(canvas, caption);
  return figure;
}

async function showImages(element) {
  const [label, predicted] = [Number(element.dataset.label), Number(element.dataset.predicted)];
  const cell = gallery.cells.find((c) => c.label === label && c.predicted === predicted);
  for (const other of rows.flat()) other.removeAttribute('aria-selected');
  element.setAttribute('aria-selected', 'true');
  const [truth, guess] = [gallery.names[label], gallery.names[predicted]];
  const count = element.textContent.trim() || '0';
  document.getElementById('images-title').textContent =
    label === predicted ? `${truth}, recognised: ${count}` : `${truth}, taken for ${guess}: ${count}`;
  const note = document.getElementById('images-note');
  const list = document.getElementById('images-list');
  list.replaceChildren();
  document.getElementById('images').hidden = false;
  if (!cell) {
    const none = 'No image is here.';
    note.textContent = element.textContent.trim() ? 'The page has no room for its images.' : none;
    return;
  }
  const sheet = new Image();
  sheet.src = cell.sheet;
  await sheet.decode();
  if (element.getAttribute('aria-selected') !== 'true') return;
  const shown = cell.index.length;
  note.textContent = (shown < cell.total ? `${shown} of ${count}, those ` : 'In order of doubt, those ') +
    'whose true class the model holds least probable first; each with its most probable classes, the true one in bold.';
  list.replaceChildren(...cell.index.map((_, position) => drawImage(cell, sheet, position)));
}

rows.forEach((row, r) => row.forEach((cell, c) => {
  const tell = () => { hint.textContent = cell.getAttribute('aria-label'); };
  cell.addEventListener('mouseenter', tell);
  cell.addEventListener('focus', tell);
  cell.addEventListener('click', () => { focusCell(r, c); showImages(cell); });
  cell.addEventListener('keydown', (event) => {
    const last = row.length - 1;
    const moves = {
      ArrowUp: [r - 1, c], ArrowDown: [r + 1, c], ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1],
      Home: [r, 0], End: [r, last],
    };
    if (moves[event.key]) focusCell(...moves[event.key]);
    else if (event.key === 'Enter' || event.key === ' ') showImages(cell);
    else return;
    event.preventDefault();
  });
}));
if (rows.length) rows[0][0].tabIndex = 0;
