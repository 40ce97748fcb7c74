// Icons beside the words of buttons: lines on a grid of 16 by 16, made here and nowhere loaded.

const ICON_PATHS = {
  Run: 'M4.5 2.5v11L13 8z',
  Submit: 'M2.5 8.5 6.5 12.5 13.5 4',
  'Next image': 'M2.5 8h10.5M9 4l4 4-4 4',
  Train: 'M2.5 13.5h11M4 13.5V9M8 13.5V3M12 13.5V6',
  Stop: 'M3.5 3.5h9v9h-9z',
  Open: 'M1.5 8C3 5 5.5 3.5 8 3.5S13 5 14.5 8C13 11 10.5 12.5 8 12.5S3 11 1.5 8zM8 6v4M6 8h4',
  Compare: 'M2.5 2.5h7v7h-7zM6.5 6.5h7v7h-7z',
  Correct: 'M3 13l.7-3L11 2.7 13.3 5 6 12.3zM9.5 4.2l2.3 2.3',
  'Roll back': 'M3 2.5V6h3.5M3.3 6A5 5 0 1 1 3 9',
  Draw: 'M3 13l.7-3L11 2.7 13.3 5 6 12.3zM9.5 4.2l2.3 2.3',
  Brush: 'M13.5 2.5 7.5 8.5M7.5 8.5C5 8.3 4.7 10.5 4.5 11.5 4 12.7 3 13.2 2.3 13.3 5.5 14.5 9.3 13 7.5 8.5z',
  Eraser: 'M7 13.5h6.5M2.5 9.5 9 3l4.5 4.5-6 6h-2zM5.7 6.3l4.5 4.5',
  Add: 'M8 3v10M3 8h10',
  Remove: 'M3 8h10',
  Scribble: 'M2 11C3.5 5.5 5.5 4 6.2 6S4.5 11.5 7 11s2-6 4-5.5 0 4.5 3 4',
  'Not this': 'M2 11C3.5 5.5 5.5 4 6.2 6S4.5 11.5 7 11s2-6 4-5.5 0 4.5 3 4M2.5 13.5l11-11',
  Box: 'M3 6V3h3M10 3h3v3M13 10v3h-3M6 13H3v-3',
  Lasso: 'M8 2.5c3 0 5.5 1.6 5.5 3.8S11 10 8 10 2.5 8.5 2.5 6.3 5 2.5 8 2.5zM4.2 9.5c-1.2 1.3-.5 3.5 1.3 4',
  Undo: 'M6 3 2.5 6.5 6 10M2.5 6.5H10a3.5 3.5 0 0 1 0 7H7',
  Redo: 'M10 3l3.5 3.5L10 10M13.5 6.5H6a3.5 3.5 0 0 0 0 7h3',
  Download: 'M8 2.5v8M4.5 7 8 10.5 11.5 7M2.5 13.5h11',
  Clear: 'M2.5 4.5h11M6 4.5v-2h4v2M4 4.5l.7 9h6.6l.7-9',
  Mark: 'M3.5 14V2.5h8l-2 3 2 3h-8',
  Copy: 'M2.5 2.5h7v7h-7zM6.5 11.5v2h7v-7h-2',
  'Fill between': 'M2.5 4h11M2.5 8h11M2.5 12h11',
  'Percent density': 'M12.5 3.5 3.5 12.5M5 3a2 2 0 1 0 .01 0zM11 9a2 2 0 1 0 .01 0z',
  'Saved tissue': 'M1.5 8C3 5 5.5 3.5 8 3.5S13 5 14.5 8C13 11 10.5 12.5 8 12.5S3 11 1.5 8z',
};
Object.assign(ICON_PATHS, { 'Undo click': ICON_PATHS.Undo, 'Clear clicks': ICON_PATHS.Clear });

/** The icon of a button by the button's name; null where there is none. It says nothing aloud. */
function iconOf(name) {
  if (!(name in ICON_PATHS)) {
    return null;
  }
  const [picture, path] = ['svg', 'path'].map(tag =>
    document.createElementNS('http://www.w3.org/2000/svg', tag)
  );
  const drawn = { viewBox: '0 0 16 16', class: 'ml-icon', 'aria-hidden': 'true', focusable: 'false' };
  Object.entries(drawn).forEach(([key, value]) => picture.setAttribute(key, value));
  path.setAttribute('d', ICON_PATHS[name]);
  picture.append(path);
  return picture;
}

/** What stands on a button: its icon, if it has one, and its name. */
const withIcon = name => [iconOf(name), name].filter(Boolean);
